"""Answers as bytes: JSON where NaN and infinity are null on purpose, and tables for other tools."""

import hashlib
import io
from collections.abc import Mapping

import numpy as np
from fastapi import Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from service.analysis.history import Gradients


def json_response(body: BaseModel | Mapping[str, object], status: int = 200, **headers: str) -> Response:
    """JSON; NaN and infinity as null."""
    return Response(to_json(body, inf_nan_mode="null"), status, headers, "application/json")


def with_etag(request: Request, response: Response) -> Response:
    """The same with a strong ETag, or 304 where the client has it already."""
    etag = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or "*" in known:
        return Response(status_code=304, headers={"ETag": etag})
    response.headers["ETag"] = etag
    return response


def as_json(gradients: Gradients, statistic: str) -> Response:
    """The form of GradientHistory."""
    return json_response(
        {
            "statistic": statistic,
            "variables": gradients.variables,
            "steps": gradients.steps.tolist(),
            "values": gradients.values.tolist(),
            "first_nonfinite_step": gradients.first_nonfinite_step,
        }
    )


def as_csv(gradients: Gradients) -> Response:
    """A column `step`, then one a variable."""
    text = io.StringIO()
    text.write(",".join(["step", *(v.name for v in gradients.variables)]) + "\n")
    for step, row in zip(gradients.steps, gradients.values.T, strict=True):
        text.write(",".join([str(step), *(repr(float(value)) for value in row)]) + "\n")
    return Response(text.getvalue(), media_type="text/csv")


def as_npz(gradients: Gradients) -> Response:
    """Arrays `names` [variables], `steps` [steps] and `values` [variables, steps]."""
    file = io.BytesIO()
    np.savez_compressed(
        file,
        names=np.array([v.name for v in gradients.variables]),
        steps=gradients.steps,
        values=gradients.values,
    )
    return Response(file.getvalue(), media_type="application/zip")


def as_parquet(gradients: Gradients) -> Response:
    """A column `step`, then one a variable."""
    import pyarrow as pa  # loaded only where it is asked for: it takes 60 MB
    from pyarrow import parquet

    columns = {"step": gradients.steps}
    columns |= {v.name: row for v, row in zip(gradients.variables, gradients.values, strict=True)}
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return Response(file.getvalue(), media_type="application/vnd.apache.parquet")
