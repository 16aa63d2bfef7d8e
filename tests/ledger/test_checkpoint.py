"""Checkpoints: three lines in one spelling, signed under the origin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, checkpoint_body, log_signature, log_verifier, parse_checkpoint
from ledger.errors import Malformed, Misuse
from ledger.merkle import EMPTY_ROOT, MAX_TREE_SIZE
from ledger.note import NoteSigner

# The note text of the specification's example.
EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
ROOT_LINE = EXAMPLE.split("\n")[2]


def test_the_example_of_the_specification_is_read_and_written() -> None:
    checkpoint = parse_checkpoint(EXAMPLE)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert checkpoint.root.hex() == "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    assert checkpoint_body(checkpoint) == EXAMPLE


@given(st.integers(0, MAX_TREE_SIZE), st.binary(min_size=32, max_size=32))
def test_any_checkpoint_comes_back(size: int, root: bytes) -> None:
    checkpoint = Checkpoint("comity.example/x", size, root)
    assert parse_checkpoint(checkpoint_body(checkpoint)) == checkpoint


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("nothing", ""),
        ("two lines", "a\n1\n"),
        ("an extension line", f"a\n1\n{ROOT_LINE}\nextension\n"),
        ("an empty line after it", f"a\n1\n{ROOT_LINE}\n\n"),
        ("no newline at the end", f"a\n1\n{ROOT_LINE}"),
        ("an empty origin", f"\n1\n{ROOT_LINE}\n"),
        ("a space in the origin", f"a b\n1\n{ROOT_LINE}\n"),
        ("a plus in the origin", f"a+b\n1\n{ROOT_LINE}\n"),
        ("no size", f"a\n\n{ROOT_LINE}\n"),
        ("a leading zero", f"a\n01\n{ROOT_LINE}\n"),
        ("two zeros", f"a\n00\n{ROOT_LINE}\n"),
        ("a sign", f"a\n+1\n{ROOT_LINE}\n"),
        ("a minus", f"a\n-1\n{ROOT_LINE}\n"),
        ("a space before the size", f"a\n 1\n{ROOT_LINE}\n"),
        ("an underscore", f"a\n1_0\n{ROOT_LINE}\n"),
        ("digits of another script", f"a\n١\n{ROOT_LINE}\n"),
        ("a superscript", f"a\n²\n{ROOT_LINE}\n"),
        ("a size of 2^63", f"a\n{1 << 63}\n{ROOT_LINE}\n"),
        ("a size beyond all bounds", f"a\n{'9' * 5000}\n{ROOT_LINE}\n"),
        ("a root of 31 bytes", f"a\n1\n{'A' * 40}AA==\n"),
        ("a root with stray bits", f"a\n1\n{ROOT_LINE[:-2]}J=\n"),
        ("a root without padding", f"a\n1\n{ROOT_LINE[:-1]}\n"),
        ("a root in hexadecimal", f"a\n1\n{'00' * 32}\n"),
    ],
)
def test_a_checkpoint_is_malformed_with(what: str, text: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_checkpoint(text)
    assert caught.value.code == "bad_checkpoint"


def test_the_log_signs_under_its_origin() -> None:
    signer = NoteSigner.generate()
    checkpoint = Checkpoint("comity.example/x", 0, EMPTY_ROOT)
    line, key = log_signature(signer, checkpoint), log_verifier("comity.example/x", signer.public_key)
    assert (line.name, line.key_id) == (key.name, key.key_id)
    key.verify(checkpoint_body(checkpoint).encode(), line.signature)


def test_what_is_no_checkpoint_is_misuse() -> None:
    for checkpoint in (
        Checkpoint("", 0, EMPTY_ROOT),
        Checkpoint("a b", 0, EMPTY_ROOT),
        Checkpoint("a\n1", 0, EMPTY_ROOT),
        Checkpoint("a", -1, EMPTY_ROOT),
        Checkpoint("a", 1 << 63, EMPTY_ROOT),
        Checkpoint("a", 0, b""),
    ):
        with pytest.raises(Misuse):
            checkpoint_body(checkpoint)
