"""The matrix of dialects: nothing is lost in silence, every name has a probe, and the page is what is measured."""

import pytest

from corpus import answer_probes, codecs_here, matrix, probes, probing
from trunkline_gateway.exchange import losses

features = pytest.mark.parametrize("probe", probes.REQUESTS, ids=lambda probe: probe.title.replace(" ", "-"))
answer_features = pytest.mark.parametrize("probe", answer_probes.ANSWERS, ids=lambda probe: probe.feature)


def test_every_name_has_a_probe_or_a_reason_not_to() -> None:
    probed = {probe.feature for probe in probes.REQUESTS} | {probe.feature for probe in answer_probes.ANSWERS}
    assert probed.isdisjoint(probes.NOT_PROBED)
    assert probed | set(probes.NOT_PROBED) == set(losses.FEATURES)


@features
def test_what_a_request_says_is_kept_or_named(probe: probing.RequestProbe) -> None:
    cells = {dialect: matrix.request_cell(probe, dialect) for dialect in codecs_here.CHAT_DIALECTS}
    holes = {dialect: cell.detail for dialect, cell in cells.items() if cell.verdict == "hole"}
    assert not holes


@answer_features
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_an_answer_says_is_kept_or_named(probe: answer_probes.AnswerProbe, stream: bool) -> None:
    cells = {dialect: matrix.answer_cell(probe, dialect, stream=stream) for dialect in codecs_here.INGRESSES}
    holes = {dialect: cell.detail for dialect, cell in cells.items() if cell.verdict == "hole"}
    assert not holes


@answer_features
def test_a_streamed_answer_keeps_what_a_whole_one_does(probe: answer_probes.AnswerProbe) -> None:
    for dialect in codecs_here.INGRESSES:
        whole = matrix.answer_cell(probe, dialect, stream=False).verdict
        streamed = matrix.answer_cell(probe, dialect, stream=True).verdict
        assert (whole in ("kept", "mapped")) == (streamed in ("kept", "mapped")), dialect


@features
def test_a_pair_of_dialects_loses_no_more_than_its_halves(probe: probing.RequestProbe) -> None:
    """What a client of each dialect says reaches each provider that can be told, as the page says."""
    for ingress in codecs_here.INGRESSES:
        if probe.feature in _SEALED or matrix.request_cell(probe, ingress).verdict != "kept":
            continue  # clients of this dialect cannot say it
        request = matrix.through(probe, ingress)
        for dialect in codecs_here.CHAT_DIALECTS:
            cell = matrix.cell_of(probe, request, dialect)
            verdicts = {matrix.request_cell(probe, dialect).verdict}
            if probe.feature in matrix.HOSTED:  # in words of its own: see the table of those
                verdicts |= {"kept", "mapped", "lost"}
            assert cell.verdict in verdicts, f"{ingress} → {dialect}: {cell}"


_SEALED = {"reasoning", "reasoning_signature", "reasoning_encrypted"}
"""Whether those are kept is decided by who made them, not by the dialects alone."""


def test_what_is_said_in_other_words_has_a_note_and_no_note_is_left_over() -> None:
    mapped = {key for key, cell in (*matrix.requests().items(), *matrix.answers().items()) if cell.verdict == "mapped"}
    for probe in answer_probes.ANSWERS:
        for dialect in codecs_here.INGRESSES:
            if matrix.answer_cell(probe, dialect, stream=True).verdict == "mapped":
                mapped.add((probe.feature, f"{dialect} streamed"))
    written = set(matrix.HOW)
    mapped |= {
        (title, dialect) for (title, _, dialect), cell in matrix.hosted_pairs().items() if cell.verdict == "mapped"
    }
    assert {
        key for key in mapped if (key[0], key[1].removesuffix(" streamed")) not in written and key not in written
    } == set()
    assert written - mapped == set()


def test_the_page_is_fresh() -> None:
    assert matrix.PAGE.read_text(encoding="utf-8") == matrix.page(), "PYTHONPATH=tests python -m corpus.matrix"
