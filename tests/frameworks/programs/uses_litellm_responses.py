"""What of LiteLLM does not go through OpenAI's SDK, and is not metered: `responses`."""

from __future__ import annotations

import litellm
from kit import QUESTION, clients, told

if __name__ == "__main__":
    clients()
    told("responses", litellm.responses(model="openai/gpt-4o", input=QUESTION).output[0].content[0].text)
