"""Golden conversations → how well each judge judges."""

from prefect import flow

from core.quantities import Count
from tasks.calibration import CalibrationRef, calibrate
from tasks.policy import guarded
from tasks.run import begin_run


@guarded
@flow(name="calibration", flow_run_name="calibration-{domain}")
async def calibration(
    domain: str = "therapeutic-coaching",
    judges: str | None = None,
    mode: str | None = None,
    repeat: Count = 1,
    golden: str | None = None,
    settings: str = "config/pipeline.yaml",
) -> CalibrationRef:
    """Measure judges against a domain's golden set: what each finds, what it misses, what it costs.

    Args:
        domain: name of a domain pack.
        judges: models (provider/model), separated by commas; default: from the settings.
        mode: single, category, criterion or compact, or several separated by commas; default: from the settings.
        repeat: how often each conversation is judged; with 2, the page says how often the two answers differ.
        golden: a folder with more golden conversations, such as the one that `understudy golden` writes.
        settings: path of the settings file.

    Returns:
        The page with the result, and the figures of each judge.
    """
    run = await begin_run("calibration", domain, settings, judges=judges, mode=mode, repeat=repeat, golden=golden)
    return await calibrate(run, mode, repeat, golden)
