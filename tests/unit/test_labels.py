"""Labelling, one thing at a time: who is shown what, what is kept of an answer, and what an answer may not do."""

from __future__ import annotations

import pytest
from labelling import LONG, SAYS, a_run, definition, experiment, live

from equipoise.arena.exporting import run_text
from equipoise.clock import ManualClock
from equipoise.conduct.labelling.items import cases_of_run
from equipoise.conduct.labelling.task import Settings, questions_of, rater_name
from equipoise.conduct.labelling.turns import Disagreement, live_turns
from equipoise.conduct.labels import AnsweredElsewhereError, Labelling
from equipoise.errors import DataError, UsageError
from equipoise.events.facts import Label
from equipoise.events.labels import standing
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_texts
from equipoise.experiment.reading import read_canonical


def labels(log) -> list[Label]:
    return [record.fact for record in log.read_since(0, kinds=("label",))]


def cases(tmp_path, log=None, *, ask="preference", number=6, **settings) -> Labelling:
    source = cases_of_run(a_run(tmp_path, number), experiment(), ask)
    clock = ManualClock(100.0)
    return Labelling(
        log or MemoryLog(clock), experiment(), source, Settings(ask=ask, **settings), clock=clock
    )


def answered(task: Labelling, rater: str, choice: int, at_most: int = 100) -> int:
    """The rater answers all there is for them, the same each time; how often that was."""
    number = 0
    while number < at_most and (key := task.next(rater)) is not None:
        task.answer(
            rater,
            key,
            {question.name: choice for question in task.questions},
            seen=task.show(rater, key).seen,
        )
        number += 1
    return number


def test_an_answer_is_kept_as_the_log_says_it(tmp_path):
    """All that a label has: which of two, which was first, how it was drawn, how long it took, and of which texts."""
    log = MemoryLog(ManualClock(0.0))
    task = cases(tmp_path, log)
    key = task.next("jo")
    shown = task.show("jo", key)
    task.answer("jo", key, {"preference": 1}, seconds=2.0004)
    (label,) = labels(log)
    assert (label.name, label.rater, label.experiment, label.happened) == (
        "preference",
        "jo",
        "support-bot",
        100.0,
    )
    assert label.variant in ("brief", LONG)
    assert shown.answers[0].startswith(SAYS[label.first])
    assert label.value == (1.0 if label.first == label.variant else 0.0)
    assert (label.draw, label.probability, label.seconds, label.replaces) == ("audit", 1.0, 2.0, None)
    assert (label.trace, label.unit, label.digest) == (None, None, experiment().digest)
    assert label.item.startswith("case-")
    assert len(label.shown) == 32


def test_first_and_second_are_turned_back_into_variants(tmp_path):
    """Whoever always takes the answer shown first prefers the variant where it was first, and control elsewhere."""
    log = MemoryLog()
    assert answered(cases(tmp_path, log, number=40), "jo", 1) == 80
    given = labels(log)
    assert all(label.value == float(label.first == label.variant) for label in given)
    assert 20 <= sum(label.first == label.variant for label in given) <= 60
    other = MemoryLog()
    answered(cases(tmp_path, other, number=40), "jo", 2)
    assert all(label.value == float(label.first != label.variant) for label in labels(other))
    neither = MemoryLog()
    answered(cases(tmp_path, neither), "jo", 0)
    assert {label.value for label in labels(neither)} == {0.5}


def test_what_is_shown_names_no_variant(tmp_path):
    """Neither the item, its key nor the texts around it say which variant an answer is from."""
    task = cases(tmp_path, number=20)
    for key in list(task._items):
        shown = repr(task.show("jo", key))
        assert not any(name in shown for name in ("control", "brief", LONG))


def test_one_seed_shows_one_order_and_another_another(tmp_path):
    """A page that is loaded again is the same page; another rater, or another seed, has an order of their own."""
    one, same = cases(tmp_path, number=20), cases(tmp_path, number=20)
    other = cases(tmp_path, number=20, seed=1)

    def orders(task, rater):
        return {key: task.show(rater, key).answers for key in task._items}

    assert orders(one, "jo") == orders(same, "jo")
    assert list(one._open("jo")) == list(same._open("jo"))
    assert list(one._open("jo")) != list(one._open("kim"))
    assert orders(one, "jo") != orders(one, "kim")
    assert orders(one, "jo") != orders(other, "jo")


def test_the_overlap_goes_to_several_and_the_rest_to_one(tmp_path):
    """Half of the items to three people each: every item is labelled as often as was said, and no more."""
    log = MemoryLog()
    task = cases(tmp_path, log, number=40, overlap=0.5, raters=3)
    counts = [answered(task, rater, 1) for rater in ("jo", "kim", "lu", "max")]
    raters: dict[tuple[str, str], int] = {}
    for label in labels(log):
        raters[label.item, label.variant] = raters.get((label.item, label.variant), 0) + 1
    several = sum(number == 3 for number in raters.values())
    assert set(raters.values()) == {1, 3}
    assert 25 <= several <= 55
    assert counts == [80, several, several, 0]
    progress = task.progress("max")
    assert (progress.answered, progress.left, progress.complete, progress.items) == (0, 0, 80, 80)


def test_who_passes_leaves_the_item_to_others_and_is_not_asked_again(tmp_path):
    """A pass is a label without a value; the next rater is asked, the first is not."""
    log = MemoryLog()
    task = cases(tmp_path, log, number=1)
    while (key := task.next("jo")) is not None:
        task.answer("jo", key, {"preference": None})
    assert [label.value for label in labels(log)] == [None, None]
    assert (task.progress("jo").answered, task.progress("jo").complete) == (2, 0)
    assert answered(task, "kim", 2) == 2


def test_an_answer_is_taken_back_and_given_anew(tmp_path):
    """Undo names what it takes back; the item comes again; the label given then replaces nothing."""
    log = MemoryLog()
    task = cases(tmp_path, log)
    key = task.next("jo")
    task.answer("jo", key, {"preference": 1})
    last = task.progress("jo").last
    assert task.undo("jo", last) == key
    assert task.next("jo") == key
    assert task.undo("jo", last) is None
    task.answer("jo", key, {"preference": 2})
    one, back, two = labels(log)
    assert (back.value, back.replaces, two.replaces) == (None, one.event_id, None)
    assert standing([one, back, two]) == (two,)
    assert task.undo("kim", "") is None


def test_of_a_raters_labels_the_last_one_stands():
    """Replaced, taken back or given again, also out of order: the earlier label is gone, other raters' and arms' stay."""
    given = {"experiment": "e", "happened": 5.0, "name": "thumbs", "item": "t1", "variant": "a"}
    first = Label(rater="ann", value=0.0, **given)
    other = Label(rater="bob", value=1.0, **given)
    arm = Label(rater="ann", value=1.0, **given | {"variant": "b"})
    better = Label(rater="ann", value=1.0, replaces=first.event_id, **given)
    again = Label(rater="ann", value=1.0, **given)
    passed = Label(rater="ann", **given)
    back = Label(rater="ann", replaces=first.event_id, **given)
    assert standing([first, other, arm, better]) == (other, arm, better)
    assert standing([better, other, first]) == (better, other)
    assert standing([first, other, back]) == (other,)
    assert standing([first, again]) == (again,)
    assert standing([first, other, passed]) == (other, passed)


def test_an_answer_is_changed_and_changed_to_a_pass(tmp_path):
    """Another answer takes the place of the first; a pass in its place is a taking back and a pass."""
    log = MemoryLog()
    task = cases(tmp_path, log)
    key = task.next("jo")
    task.answer("jo", key, {"preference": 1})
    shown = task.show("jo", key)
    assert shown.given == {"preference": 1}
    task.answer("jo", key, {"preference": 0}, seen=shown.seen)
    shown = task.show("jo", key)
    task.answer("jo", key, {"preference": None}, seen=shown.seen)
    one, two, back, passed = labels(log)
    assert two.replaces == one.event_id
    assert (back.value, back.replaces) == (None, two.event_id)
    assert (passed.value, passed.replaces) == (None, None)
    assert standing(labels(log)) == (passed,)
    assert task.show("jo", key).given == {"preference": None}


def test_two_windows_cannot_answer_twice(tmp_path):
    """The same answer again is one; another one from a window that knew less is refused, and says what stands."""
    log = MemoryLog()
    task = cases(tmp_path, log)
    key = task.next("jo")
    seen = task.show("jo", key).seen
    task.answer("jo", key, {"preference": 1}, seen=seen)
    task.answer("jo", key, {"preference": 1}, seen=seen)
    with pytest.raises(AnsweredElsewhereError) as refused:
        task.answer("jo", key, {"preference": 2}, seen=seen)
    assert str(refused.value) == (
        "you answered this in another window meanwhile, and that answer stands; change it here if you think otherwise"
    )
    assert len(labels(log)) == 1


def test_grades_are_a_label_for_each_axis_kept_together(tmp_path):
    """One page, one time, all axes; an undo takes back all of them."""
    log = MemoryLog()
    task = cases(tmp_path, log, ask="grades")
    assert [question.name for question in task.questions] == ["clarity", "policy"]
    key = task.next("jo")
    task.answer("jo", key, {"clarity": 5, "policy": 2}, seconds=8.0)
    assert [(label.name, label.value, label.first, label.seconds) for label in labels(log)] == [
        ("clarity", 5.0, None, 8.0),
        ("policy", 2.0, None, 8.0),
    ]
    assert task.undo("jo", task.progress("jo").last) == key
    assert len(standing(labels(log))) == 0
    with pytest.raises(UsageError) as refused:
        task.answer("jo", key, {"clarity": 5})
    assert str(refused.value) == "policy has no answer; answer it, or skip the item"
    with pytest.raises(UsageError) as refused:
        task.answer("jo", key, {"clarity": 5, "policy": 6})
    assert str(refused.value) == "6 is no answer to policy; accepted: 1, 2, 3, 4, 5"
    with pytest.raises(UsageError) as refused:
        task.answer("jo", key, {"clarity": 5, "policy": 1, "charm": 1})
    assert str(refused.value) == "charm is not asked"
    with pytest.raises(UsageError) as refused:
        task.answer("jo", "0" * 32, {"clarity": 5, "policy": 1})
    assert str(refused.value) == "there is no such item, or its text is there no more; go on with the next"


def test_a_time_that_cannot_be_is_not_known(tmp_path):
    """Less than nothing and more than a day are no times; None stands for them."""
    for seconds in (-1.0, 90_000.0):
        log = MemoryLog()
        task = cases(tmp_path, log)
        task.answer("jo", task.next("jo"), {"preference": 1}, seconds=seconds)
        assert labels(log)[0].seconds is None


def test_labels_of_other_answers_are_not_of_these(tmp_path):
    """A run made anew with other answers is labelled anew; with the same answers what was said still counts."""
    log = MemoryLog()
    assert answered(cases(tmp_path, log), "jo", 1) == 12
    assert answered(cases(tmp_path, log), "jo", 1) == 0
    said = {"control": "Same.", "brief": "B says this to {n}.", LONG: "Other."}
    source = cases_of_run(a_run(tmp_path, 6, answers=said), experiment(), "preference")
    assert answered(Labelling(log, experiment(), source, Settings(ask="preference")), "jo", 1) == 12


def test_live_turns_are_drawn_with_the_probability_that_is_logged():
    """Each turn of an arm whose text is kept: its unit, its trace, and the chance of both draws."""
    log, texts = MemoryLog(), open_texts("memory:")
    found = live(log, texts, 60)
    clock = ManualClock(2_000.0)
    source = live_turns(log, texts, found, "thumbs", share=0.4, salt="s", clock=clock)
    assert 10 <= len(source.items) <= 40
    assert {item.probability for item in source.items} == {0.2}
    again = live_turns(log, texts, found, "thumbs", share=0.6, salt="s", clock=clock)
    assert {item.key for item in source.items} < {item.key for item in again.items}
    task = Labelling(log, found, source, Settings(ask="thumbs"), clock=clock)
    key = task.next("jo")
    shown = task.show("jo", key)
    assert [each.role for each in shown.asked] == ["user"]
    assert len(shown.context) == 1
    assert shown.answers[0].splitlines()[1].startswith("→ track(")
    task.answer("jo", key, {"thumbs": 0})
    (label,) = labels(log)
    assert (label.value, label.trace, label.first) == (0.0, label.item, None)
    assert label.unit.startswith("unit-")


def test_a_turn_of_control_stands_beside_its_shadow():
    """A pair for each shadow whose text is there, and none elsewhere; nothing of the prompt is shown."""
    log, texts = MemoryLog(), open_texts("memory:")
    found = live(log, texts, 9)
    clock = ManualClock(2_000.0)
    source = live_turns(log, texts, found, "preference", clock=clock)
    assert [(item.variant, item.trace) for item in source.items] == [
        ("brief", f"{n:032x}") for n in (0, 3, 6)
    ]
    task = Labelling(log, found, source, Settings(ask="preference"), clock=clock)
    shown = task.show("jo", source.items[0].key)
    assert {answer.splitlines()[0] for answer in shown.answers} == {
        "A turn says this to 0.",
        "A shadow says this to 0.",
    }
    assert shown.context == ()
    assert "PROMPT" not in repr(shown)


def test_a_text_that_expired_meanwhile_is_shown_to_nobody():
    """Its item is passed over, and an answer to it is refused."""
    log, texts = MemoryLog(), open_texts("memory:")
    found = live(log, texts, 3)
    clock = ManualClock(2_000.0)
    task = Labelling(
        log, found, live_turns(log, texts, found, "thumbs", clock=clock), Settings(ask="thumbs"), clock=clock
    )
    keys = [task.next("jo")]
    clock.advance(5_000.0)
    assert task.show("jo", keys[0]) is None
    assert task.next("jo") != keys[0]
    with pytest.raises(UsageError):
        task.answer("jo", keys[0], {"thumbs": 1})


def test_what_judge_and_outcome_disagree_on_is_drawn_apart():
    """Not one that the audit has; not more than was said; and never as if it had been drawn at random."""
    log, texts = MemoryLog(), open_texts("memory:")
    found = live(log, texts, 60)
    clock = ManualClock(2_000.0)
    wanted = Disagreement(most=8, score="policy", bar=3.0, outcome="resolved")
    source = live_turns(log, texts, found, "thumbs", share=0.2, salt="s", disagreement=wanted, clock=clock)
    disputed = [item for item in source.items if item.draw == "disagreement"]
    audit = {item.item for item in source.items if item.draw == "audit"}
    assert len(disputed) == 8
    # The judge passed the even turns, and no outcome was good.
    assert all(int(item.item, 16) % 2 == 0 for item in disputed)
    assert not audit & {item.item for item in disputed}
    turned = Disagreement(most=100, score="policy", bar=3.0, outcome="resolved", lower_is_better=True)
    other = live_turns(log, texts, found, "thumbs", share=0.0, salt="s", disagreement=turned, clock=clock)
    assert {int(item.item, 16) % 2 for item in other.items} == {1}
    with pytest.raises(UsageError) as refused:
        live_turns(log, texts, found, "thumbs", disagreement=Disagreement(most=1, score="charm", bar=1.0, outcome="resolved"), clock=clock)  # fmt: skip
    assert str(refused.value) == (
        "no turn whose text is there has a score called 'charm', so nothing can disagree with resolved. Name another with "
        "--score, or leave out --disagreements"
    )


def test_a_case_without_an_answer_of_an_arm_is_no_item_of_it(tmp_path, hard_result):
    """A real run with gaps and hostile ids: one item for each treatment and case that both arms answered."""
    path = tmp_path / "r.json"
    path.write_text(run_text(hard_result))
    source = cases_of_run(path, experiment(), "preference")
    assert len(source.items) == 79
    assert len(cases_of_run(path, experiment(), "thumbs").items) == 119
    assert {item.cluster for item in source.items} == {f"document {n}" for n in range(10)}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON: unexpected end of data: line 1 column 2 (char 1). Accepted: NAME.arena.json of `equipoise arena`"),
        ("{}", "is no run of the arena. Accepted: NAME.arena.json of `equipoise arena`"),
        ('{"equipoise": "arena", "by_case": [{"id": "a"}]}', "is not whole: KeyError 'answers'. Run the arena again"),
        (
            '{"equipoise": "arena", "by_case": []}',
            f"holds no answer of control, brief, {LONG}. Run the arena with this definition, or name its run with --run",
        ),
    ],
)  # fmt: skip
def test_what_is_no_run_is_refused(tmp_path, content, says):
    """Each message says what was wrong and what would be accepted."""
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(DataError) as refused:
        cases_of_run(path, experiment(), "preference")
    assert str(refused.value).endswith(says)
    with pytest.raises(DataError) as refused:
        cases_of_run(tmp_path / "none.json", experiment(), "preference")
    assert str(refused.value) == (
        f"the run {tmp_path / 'none.json'} cannot be read: No such file or directory. Make it with: equipoise arena FILE"
    )


def test_a_task_that_cannot_be_is_refused(tmp_path):
    """No items, no rubric, an overlap that is no share, a rater without a name."""
    empty = cases_of_run(a_run(tmp_path), experiment(), "preference", share=0.0)
    with pytest.raises(UsageError) as refused:
        Labelling(MemoryLog(), experiment(), empty, Settings(ask="preference"))
    assert str(refused.value) == (
        "there is nothing to label of support-bot: no item with the texts that preference needs was drawn. Draw a larger "
        "--share"
    )
    with pytest.raises(UsageError) as refused:
        cases(tmp_path, overlap=1.5)
    assert (
        str(refused.value) == "an overlap is a share from 0 to 1 and goes to at least one rater, not 1.5 to 2"
    )
    plain = {key: value for key, value in definition().items() if key != "offline"}
    with pytest.raises(UsageError) as refused:
        questions_of(read_canonical(plain), "grades")
    assert str(refused.value) == (
        "support-bot has no rubric (`offline.rubric`), so there are no axes to grade. Ask for --ask preference or --ask "
        "thumbs, or give it one"
    )
    for name in ("", "  ", "x" * 81, "a\nb", "\x1b[31m"):
        with pytest.raises(UsageError) as refused:
            rater_name(name)
        assert str(refused.value) == "a rater needs a name of 1 to 80 printable characters"
