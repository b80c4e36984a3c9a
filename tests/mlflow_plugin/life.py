"""The life of a run, told in MLflow's own words; a program, since MLflow warns of itself and takes seconds to load.

    python life.py TRACKING_URI ARTIFACT_LOCATION DIRECTORY [SOURCE...]

The location is `-` for what the server has. Sources are of model versions, `{model}` in them what MLflow calls the
model. What came of it is printed as JSON; with sources the run is removed in the end.
"""

import json
import sys
from pathlib import Path

import mlflow
import numpy as np
from mlflow.cli import cli
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from sklearn.linear_model import LogisticRegression


def main(tracking_uri: str, location: str, directory: Path, sources: list[str]) -> None:
    mlflow.set_tracking_uri(tracking_uri)
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("life", artifact_location=None if location == "-" else location)
    files = directory / "files"
    (files / "nested" / "deep").mkdir(parents=True)
    (files / "top.txt").write_text("top")
    (files / "nested" / "deep" / "down.txt").write_text("down")
    x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
    with mlflow.start_run(experiment_id=experiment) as run:
        run_id = run.info.run_id
        empty = names(client.list_artifacts(run_id))
        mlflow.log_text("hello", "notes/hello.txt")
        mlflow.log_dict({"a": 1}, "notes/values.json")
        client.log_artifacts(run_id, str(files), "files")
        client.log_artifact(run_id, str(files / "top.txt"))
        model = mlflow.sklearn.log_model(
            LogisticRegression().fit(x, y), name="model", pip_requirements=["scikit-learn"]
        )
    listed = {path: names(client.list_artifacts(run_id, path)) for path in ("", "files", "files/nested", "notes")}
    downloads = directory / "downloads"
    downloads.mkdir()
    whole = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="files", dst_path=str(downloads))
    uri = f"{run.info.artifact_uri}/notes/hello.txt"
    loaded = {
        model_uri: [int(value) for value in mlflow.sklearn.load_model(model_uri).predict(x)]
        for model_uri in (model.model_uri, f"runs:/{run_id}/model", model.artifact_path)
    }
    again = mlflow.pyfunc.load_model(model.model_uri).predict(x)
    artifacts = get_artifact_repository(run.info.artifact_uri, tracking_uri)
    artifacts.delete_artifacts("notes/values.json")
    after = names(client.list_artifacts(run_id, "notes"))
    client.create_registered_model("named")
    sources = [source.format(model=model.model_id) for source in sources]
    versions = [client.create_model_version("named", source).version for source in sources]
    named = [*sources, *(f"models:/named/{version}" for version in versions)]
    told = {
        "run": run_id,
        "uri": run.info.artifact_uri,
        "model": model.model_id,
        "empty": empty,
        "listed": listed,
        "whole": {str(p.relative_to(whole)): p.read_text() for p in Path(whole).rglob("*") if p.is_file()},
        "text": mlflow.artifacts.load_text(uri),
        "loaded": [*loaded.values(), [int(value) for value in again]],
        "after": after,
        "named": [[int(value) for value in mlflow.sklearn.load_model(uri).predict(x)] for uri in named],
    }
    print(json.dumps(told))
    if sources:
        client.delete_run(run_id)
        cli(["gc", "--backend-store-uri", tracking_uri, "--tracking-uri", tracking_uri], standalone_mode=False)


def names(infos) -> list[str]:
    return [info.path for info in infos]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
