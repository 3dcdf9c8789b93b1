"""Learning from teachers: their odds are those of each document alone, and whoever knows them has nothing to learn."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from rwkv_music.model.initial import initial_weights, standard_spec
from rwkv_music.model.state import State
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_training.learning.config import ConfigError, Teaching
from rwkv_music_training.learning.dropping import blanked
from rwkv_music_training.learning.loop import Run
from rwkv_music_training.learning.making import make_learner
from rwkv_music_training.learning.objective import nats_to
from rwkv_music_training.learning.packing import pack
from rwkv_music_training.learning.teaching import open_teachers

VOCABULARY = 40


@pytest.fixture(scope="module")
def teachers(tmp_path_factory) -> tuple[str, ...]:
    """Files of two models that were never taught, of different versions."""
    folder, names = tmp_path_factory.mktemp("teachers"), []
    for seed, version in enumerate(["7", "6"]):
        weights = initial_weights(
            standard_spec(version, 2, 32, VOCABULARY, 32, 32), torch.Generator().manual_seed(seed)
        )
        save_file(weights, folder / f"{version}.safetensors")
        names.append(str(folder / f"{version}.safetensors"))
    return tuple(names)


def test_the_odds_are_the_mean_over_teachers_of_each_document_alone(teachers, documents):
    kernels = choose_kernels("cpu")
    both = open_teachers(Teaching(models=teachers), VOCABULARY, kernels)
    ones = [open_teachers(Teaching(models=(name,)), VOCABULARY, kernels) for name in teachers]
    assert both is not None
    odds, place = both.odds(pack(documents[:3])), 0
    for document in documents[:3]:
        alone = [one.odds(pack([document]))[0, : len(document) - 1] for one in ones if one is not None]
        assert torch.allclose(odds[0, place : place + len(document) - 1], torch.stack(alone).mean(dim=0), atol=1e-6)
        place += len(document) - 1
    assert torch.allclose(odds.sum(dim=-1), torch.ones(odds.shape[:2]), atol=1e-5)


def steepest(config, batch) -> tuple[float, float]:
    """What a batch costs a learner that begins as its base, and the largest gradient of all its weights."""
    learner = make_learner(
        config.but(optimiser={"dropout": 0.0, "l2wrap": 0.0}), VOCABULARY, choose_kernels("cpu")
    ).train()
    cost = learner(batch).nats
    cost.backward()
    return cost.item(), max(float(each.grad.abs().max()) for each in learner.parameters() if each.grad is not None)


def test_who_knows_what_the_teacher_knows_has_nothing_to_learn(tiny, teachers, documents):
    batch, teaching = pack(documents[:4]), Teaching(models=teachers[:1], share=1.0)
    teacher = open_teachers(teaching, VOCABULARY, choose_kernels("cpu"))
    assert teacher is not None
    odds = teacher.odds(batch)[batch.counted]
    cost, slope = steepest(tiny.but(base=teachers[0], teaching=teaching.model_dump()), batch)
    _, usual = steepest(tiny.but(base=teachers[0]), batch)
    assert cost == pytest.approx(float(-(odds * odds.log()).sum()), rel=1e-5)
    assert slope < 1e-3 * usual


def test_the_loss_is_divided_between_music_and_teachers(tiny, teachers, documents):
    batch = pack(documents[:2])
    costs = []
    for share in (0.0, 1.0, 0.25):
        config = tiny.but(teaching={"models": teachers, "share": share}, optimiser={"dropout": 0.0})
        costs.append(make_learner(config, VOCABULARY, choose_kernels("cpu")).train()(batch).nats.item())
    assert costs[2] == pytest.approx(0.75 * costs[0] + 0.25 * costs[1], rel=1e-6) and costs[0] != costs[1]


def test_blanks_hide_what_is_read_from_the_learner_alone(tiny, teachers, documents, monkeypatch):
    batch, taught = pack(documents[:2]), {"models": teachers[:1]}
    config = tiny.but(teaching=taught, optimiser={"dropout": 0.0, "blanked": 0.5})
    learner = make_learner(config, VOCABULARY, choose_kernels("cpu")).train()
    assert learner.teachers is not None
    expected = learner.teachers.odds(batch)
    cost = learner(batch).nats.item()
    # The same blanks by hand, the odds those of the whole batch.
    plain = make_learner(config.but(optimiser={"blanked": 0.0}), VOCABULARY, choose_kernels("cpu")).train()
    monkeypatch.setattr(plain.teachers, "odds", lambda batch: expected)
    seen = replace(batch, ids=blanked(batch.ids, batch.cu_seqlens, 0.5, config.seed, 0, batch.number))
    assert cost == pytest.approx(plain(seen).nats.item(), rel=1e-5)
    assert cost != pytest.approx(plain(batch).nats.item(), rel=1e-5)


def test_a_run_comes_nearer_to_its_teachers_and_leaves_them_as_they_are(
    tiny, lesson, documents, teachers, tmp_path, alone
):
    config = tiny.but(teaching={"models": teachers[:1], "share": 1.0}, schedule={"steps": 30}, habits={"read_every": 0})
    run = Run(config, lesson, tmp_path, alone)
    learner, batch = run.stepper.learner, pack(documents[:6])
    assert learner.teachers is not None
    odds = learner.teachers.odds(batch)

    def distance() -> float:
        with torch.no_grad():
            logits, _ = learner.model().forward(
                batch.ids, State.zeros(learner.spec, batch.documents), cu_seqlens=batch.cu_seqlens
            )
        return float(nats_to(logits, odds, batch.counted))

    before = distance()
    run.run()
    assert distance() < 0.97 * before
    assert torch.equal(learner.teachers.odds(batch), odds)
    assert not any("teach" in name for name in run.stepper.state()["weights"])


def test_teachers_of_other_music_are_refused(tiny, teachers, tmp_path):
    weights = initial_weights(standard_spec("7", 1, 32, VOCABULARY + 8, 32, 32), torch.Generator().manual_seed(1))
    save_file(weights, tmp_path / "other.safetensors")
    config = tiny.but(teaching={"models": [str(tmp_path / "other.safetensors")]})
    with pytest.raises(ConfigError, match=r"knows 48 ids, the learner 40"):
        make_learner(config, VOCABULARY, choose_kernels("cpu"))
    with pytest.raises(ConfigError, match=r"data\.carry must be false"):
        tiny.but(teaching={"models": teachers}, data={"carry": True, "tokens_per_step": 384})
