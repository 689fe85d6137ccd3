"""What the tests of crashes share asserts as they do: a failure says what was found."""

import pytest

pytest.register_assert_rewrite("crash.killing")
