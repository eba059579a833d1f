"""A stand-in for a language model: it has no intelligence, and answers a conversation always in the same way."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest


def generate(conversations: list[list[str]]) -> Iterator[tuple[int, str]]:
    """Yield the tokens of all answers in turns, as a model does that runs a batch: the number of the conversation, and
    the next token of its answer."""
    for tokens in zip_longest(*(answer(messages).split() for messages in conversations)):
        yield from ((number, token) for number, token in enumerate(tokens) if token is not None)


def answer(messages: list[str]) -> str:
    if wish := re.search(r"refund of (\d+)", messages[0]):
        return f"Dear customer, {messages[-1]}." if len(messages) > 1 else f"CALL refund {wish[1]}"
    words = Counter(re.findall(r"\w{4,}", messages[-1].lower()))
    return "It is about " + " and ".join(word for word, _ in words.most_common(3))
