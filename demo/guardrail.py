"""The policy every answer is checked against, whatever the prompt asked the model for."""

from __future__ import annotations

import re

DISCLAIMER = "This is information, not investment advice."
DIRECTIVE = re.compile(r"\byou should (buy|sell|hold|invest|put)\b|\b(buy|sell) (it )?now\b", re.IGNORECASE)


def violations(answer: str) -> list[str]:
    """Return what is wrong with an answer; empty where it passes."""
    found = []
    if DISCLAIMER not in answer:
        found.append("the disclaimer is missing")
    if DIRECTIVE.search(answer):
        found.append("it tells the customer what to do")
    return found
