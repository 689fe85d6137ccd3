"""DSPy, which calls through LiteLLM: https://dspy.ai/."""

from __future__ import annotations

import dspy
from kit import QUESTION, clients, told


def main() -> None:
    clients()
    dspy.configure(lm=dspy.LM("openai/gpt-4o", cache=False), adapter=dspy.JSONAdapter())
    told("call", dspy.settings.lm(QUESTION))
    told("predict", dspy.Predict("question -> answer")(question=QUESTION).answer)
    told("chain of thought", dspy.ChainOfThought("question -> answer")(question=QUESTION).toDict())


if __name__ == "__main__":
    main()
