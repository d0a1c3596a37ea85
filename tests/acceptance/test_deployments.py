"""The units for systemd and the CronJob for Kubernetes are valid, and say what this version understands."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from batch import config, errors
from batch.cli.main import cli
from batch.cli.options import settings_of
from batch.config import HealthcheckSettings
from tests.support.object_store import BUCKET, S3, running
from tests.support.places import ROOT
from tests.support.processes import Ended, diarist
from tests.support.recordings import archive, wav
from tests.support.service import Double, start_service

CONFIGS = ROOT / "configs"
UNITS, CRONJOB = CONFIGS / "systemd", CONFIGS / "kubernetes" / "cronjob.yaml"


def unit(name: str) -> configparser.ConfigParser:
    read = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",), strict=True)
    read.optionxform = str  # type: ignore[assignment, method-assign]
    read.read_string((UNITS / name).read_text("utf-8"))
    return read


def job() -> dict[str, Any]:
    _, cron = yaml.safe_load_all(CRONJOB.read_text("utf-8"))
    spec: dict[str, Any] = cron["spec"]
    return spec


def container() -> dict[str, Any]:
    (only,) = job()["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return dict(only)


def given(command: list[str]) -> config.Settings:
    """The settings that a command line of ours makes. Raises what the command line itself would say of a mistake."""
    program, name, *arguments = command
    assert Path(program).name == "diarist"
    params = cli.commands[name].make_context(name, arguments).params
    if params["config"]:
        params["config"] = str(CONFIGS / Path(params["config"]).name)
    return settings_of(params, "service", "concurrency", "order", "progress", "log_file")


@pytest.fixture(params=["systemd", "kubernetes"])
def command(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "systemd":
        return shlex.split(unit("diarist.service")["Service"]["ExecStart"])
    return [*container()["command"], *container()["args"]]


def test_nightly_command_caps_its_cost_and_never_agrees_to_repay(command: list[str]) -> None:
    """A night may cost so much unasked, and agrees to paying for nothing again."""
    budget = given(command).budget
    assert "--yes" not in command
    assert 0 < budget.max_cost <= (budget.confirm_above or budget.max_cost)


def longest_end_seconds(ping: HealthcheckSettings) -> float:
    """From SIGTERM to the end: the drain, the wait for a ping of the start, three tries and their pauses."""
    return config.Settings().drain_seconds + 4 * ping.timeout_seconds + 1


def test_systemd_command_is_valid_and_its_timeout_outlasts_drain() -> None:
    """The systemd service runs a command that we understand, and leaves it the time to drain."""
    service = unit("diarist.service")["Service"]
    made = given(shlex.split(service["ExecStart"]))
    assert (made.progress, made.metrics.port, made.budget.max_cost) == ("plain", 8519, 50.0)
    assert float(service["TimeoutStopSec"]) > longest_end_seconds(made.ping)
    assert made.log_file.startswith(f"/var/log/{service['LogsDirectory']}/")


def test_exit_codes_mean_to_systemd_what_they_mean_to_us() -> None:
    service = unit("diarist.service")["Service"]
    assert service["RestartForceExitStatus"] == str(errors.UnavailableError.exit_code)
    assert service["SuccessExitStatus"] == "143", "what would have been paid for again is not hidden"


def test_systemd_has_no_complaint(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    for path in UNITS.iterdir():
        text = path.read_text("utf-8").replace("/opt/diarist/bin/diarist", f"{sys.executable} -m batch")
        (tmp_path / path.name).write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert [line for line in said.stderr.splitlines() if "diarist" in line] == []
    assert said.returncode == 0, said.stderr


def test_the_timer_starts_the_service_and_is_what_is_enabled() -> None:
    assert (UNITS / "diarist.service").stem == (UNITS / "diarist.timer").stem
    assert unit("diarist.timer")["Install"]["WantedBy"] == "timers.target"
    assert "Install" not in unit("diarist.service")


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_accepts_every_document(version: str) -> None:
    documents = list(yaml.safe_load_all(CRONJOB.read_text("utf-8")))
    assert [document["kind"] for document in documents] == ["PersistentVolumeClaim", "CronJob"]
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_container_command_is_valid_and_its_grace_outlasts_drain() -> None:
    """The container runs a command that we understand, and leaves it the time to drain."""
    ran = container()
    made = given(ran["command"] + ran["args"])
    pod = job()["jobTemplate"]["spec"]["template"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > longest_end_seconds(made.ping)
    assert (made.metrics.host, made.metrics.port) == ("0.0.0.0", ran["ports"][0]["containerPort"])
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(made.metrics.port)
    assert ran["workingDir"] in {mount["mountPath"] for mount in ran["volumeMounts"] if not mount.get("readOnly")}
    for variable in ran["env"]:
        config.load(environ={variable["name"]: "x"}, flags={})  # a setting that there is, or none of ours


def test_exit_codes_mean_to_kubernetes_what_they_mean_to_us() -> None:
    spec = job()["jobTemplate"]["spec"]
    disrupted, for_good = spec["podFailurePolicy"]["rules"]
    assert disrupted["action"] == "Ignore"
    final = {
        kind.exit_code
        for kind in (
            errors.UsageError,
            errors.AuthenticationError,
            errors.InsufficientFundsError,
            errors.BudgetExceededError,
        )
    } | {1, 3}
    assert set(for_good["onExitCodes"]["values"]) == final
    assert for_good["onExitCodes"]["containerName"] == container()["name"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # which a podFailurePolicy needs


def test_every_other_command_in_them_is_one_of_ours() -> None:
    text = "".join(path.read_text("utf-8") for path in (*UNITS.iterdir(), CRONJOB))
    named = set(re.findall(r"diarist ([a-z]+) /", text))
    assert {"run", "status"} <= named <= set(cli.commands)


async def test_the_command_of_the_service_does_its_work(tmp_path: Path) -> None:
    """With its paths below a directory of the test, and the double for the service."""
    (tmp_path / "srv").mkdir()
    archive(tmp_path / "srv" / "calls", 3)
    command = unit("diarist.service")["Service"]["ExecStart"]
    command = command.replace("/etc/diarist", str(CONFIGS)).replace(" /srv", f" {tmp_path}/srv")
    command = re.sub(r" /var/(lib|log)/diarist", f" {tmp_path}/var", command)
    (tmp_path / "var").mkdir()
    async with start_service(tmp_path / "service", key="k") as service:
        ended = await diarist(
            *shlex.split(command)[1:], "--metrics-port", "0",
            ASSEMBLYAI_API_KEY="k", ASSEMBLYAI_BASE_URL=service.base_url,
        )  # fmt: skip
    assert ended.code == 0, ended.said
    assert "3 transcribed" in ended.said
    assert (tmp_path / "var" / "run.jsonl").stat().st_size > 0


class Cluster:
    """Where the container of the CronJob runs: its volumes are folders, its bucket is a real one."""

    def __init__(self, folder: Path, service: Double, s3: S3) -> None:
        self.volumes = {name: folder / name for name in ("state", "recordings", "work")}
        self._service, self._s3 = service, s3
        self.volumes["recordings"].mkdir()

    async def night(self) -> Ended:
        """A pod of the job from its beginning to its end, with which its empty directories go."""
        words = [*container()["command"], *container()["args"]][1:]
        for name, path in self.volumes.items():
            words = [re.sub(rf"(^|=)/{name}\b", rf"\g<1>{path}", word) for word in words]
            path.mkdir(exist_ok=True)
        words = [word.replace("s3://transcripts/", f"s3://{BUCKET}/") for word in words]
        environ = {"AWS_ENDPOINT_URL": self._s3.url, "AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "secret"}
        ended = await diarist(
            *words, "--metrics-port", "0", cwd=self.volumes["work"], ASSEMBLYAI_API_KEY="k",
            ASSEMBLYAI_BASE_URL=self._service.base_url, AWS_REGION="us-east-1", **environ,
        )  # fmt: skip
        shutil.rmtree(self.volumes["work"])
        return ended


async def test_a_container_that_loses_its_disks_pays_for_nothing_again(tmp_path: Path) -> None:
    """The command of the CronJob, night after night in a new pod; in the end without its volume, too."""
    with running() as s3:
        async with start_service(tmp_path / "service", key="k") as service:
            cluster = Cluster(tmp_path, service, s3)
            archive(cluster.volumes["recordings"], 3)
            first = await cluster.night()
            assert (first.code, len(service.submissions)) == (0, 3), first.said
            assert "3 transcribed" in first.said
            (cluster.volumes["recordings"] / "3.wav").write_bytes(wav(b"another" * 100))
            second = await cluster.night()
            assert (second.code, len(service.submissions)) == (0, 4), second.said
            assert "3 skipped (3 done before)" in second.said
            asked = len(service.requests)
            shutil.rmtree(cluster.volumes["state"])
            s3.count_anew()
            third = await cluster.night()
            assert (third.code, len(service.submissions)) == (0, 4), third.said
            assert "4 skipped (4 done before)" in third.said
            assert len(service.requests) == asked, "what is in the bucket is known without asking"
            assert s3.requests == {"GET client": 7}, "three listings, and one read of each result"
        assert len(s3.keys("calls/")) == 4
