"""The columns that a model takes, and rows for its golden samples: from a CSV file, or made of what the model knows.

A part of convert_child.py: Python 3.8, NumPy, and pandas only where the model was fitted on a DataFrame.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from bundle_format import plain

MOST_ROWS = 50
RANDOM_STATE = 42


@dataclass(frozen=True)
class Column:
    """A feature of the records: its name and 'number' or 'string'."""

    name: str
    type: str


@dataclass(frozen=True)
class Columns:
    """All of them, in the order of the model. `separate`: each is an input tensor of its own, as in a DataFrame.

    Rows are an object array, [rows, columns], of float32 and str.
    """

    all: tuple[Column, ...]
    separate: bool

    @staticmethod
    def of(model: Any, asked: list[dict] | None) -> Columns:
        """Those that the user names, or that the model was fitted on; checked against how many it takes."""
        fitted = [str(name) for name in getattr(model, 'feature_names_in_', [])]
        taken = getattr(model, 'n_features_in_', None)
        if asked is None and not fitted:
            raise ValueError(
                f'the model does not know the names of its {taken or ""} columns: name them with --features a,b,c'
            )
        asked = asked or [{'name': name, 'type': None} for name in fitted]
        if taken is not None and len(asked) != taken:
            of = f' ({", ".join(fitted)})' if fitted else ''
            raise ValueError(f'--features names {len(asked)} columns, the model takes {taken}{of}')
        kinds = _categories(model, fitted)
        columns = tuple(
            Column(each['name'], each['type'] or ('string' if index in kinds else 'number'))
            for index, each in enumerate(asked)
        )
        strings = any(column.type == 'string' for column in columns)
        by_name = bool(fitted) and any(type(step).__name__ == 'ColumnTransformer' for step in _steps(model))
        if by_name and [column.name for column in columns] != fitted:
            raise ValueError(
                f'the model picks its columns by name: --features must be {",".join(fitted)}, in this order'
            )
        return Columns(columns, strings or by_name)

    def for_model(self, rows: np.ndarray) -> Any:
        """The rows as the library takes them."""
        if not self.separate:
            return rows.astype(np.float32)
        import pandas

        parts = {
            column.name: rows[:, at].astype(np.float32 if column.type == 'number' else object)
            for at, column in enumerate(self.all)
        }
        return pandas.DataFrame(parts)

    def for_graph(self, rows: np.ndarray, floats: str) -> dict[str, np.ndarray]:
        """The rows as the graph takes them: one tensor called `floats`, or one for each column."""
        if not self.separate:
            return {floats: rows.astype(np.float32)}
        return {
            column.name: rows[:, [at]].astype(np.float32 if column.type == 'number' else object)
            for at, column in enumerate(self.all)
        }

    def features(self, tensor: str) -> list[dict]:
        """The features of one input tensor, as model.json has them."""
        own = [column for column in self.all if not self.separate or column.name == tensor]
        return [{'name': column.name} for column in own]

    def record(self, rows: np.ndarray, index: int) -> dict:
        """One row as a record; dots in a name step into an object."""
        record: dict = {}
        for column, value in zip(self.all, rows[index]):
            *path, last = column.name.split('.')
            inner = record
            for name in path:
                inner = inner.setdefault(name, {})
            inner[last] = plain(np.float32(value) if column.type == 'number' else value)
        return record


def golden_rows(model: Any, columns: Columns, sample: str | None) -> tuple[np.ndarray, str]:
    """Rows, and in words where they come from. Raises ValueError."""
    if sample is not None:
        return _from_csv(columns, sample), 'the sample given'
    random = np.random.default_rng(RANDOM_STATE)
    ranges = _ranges(model, len(columns.all))
    kinds = _categories(model, [column.name for column in columns.all])
    rows = np.empty((MOST_ROWS, len(columns.all)), dtype=object)
    for at, column in enumerate(columns.all):
        if column.type == 'string':
            if at not in kinds:
                raise ValueError(
                    f'nothing in the model tells what the strings of {column.name} are: give rows by --sample'
                )
            rows[:, at] = random.choice(kinds[at], MOST_ROWS)
        else:
            low, high = ranges.get(at, (-2.0, 2.0))
            rows[:, at] = random.uniform(low, high, MOST_ROWS).astype(np.float32)
    known = 'random rows within what the model knows of its columns'
    return rows, known if ranges or kinds else 'random numbers from -2 to 2 (the model knows nothing of its columns)'


def _from_csv(columns: Columns, sample: str) -> np.ndarray:
    with open(sample, encoding='utf-8-sig', newline='') as file:
        table = csv.DictReader(file)
        missing = [column.name for column in columns.all if column.name not in (table.fieldnames or [])]
        if missing:
            raise ValueError(f'{sample} has no column {", ".join(missing)}; it has {", ".join(table.fieldnames or [])}')
        lines = [line for line, _ in zip(table, range(MOST_ROWS))]
    if not lines:
        raise ValueError(f'{sample} has a header and no rows')
    rows = np.empty((len(lines), len(columns.all)), dtype=object)
    for index, line in enumerate(lines):
        for at, column in enumerate(columns.all):
            try:
                rows[index, at] = line[column.name] if column.type == 'string' else np.float32(line[column.name])
            except (TypeError, ValueError):
                raise ValueError(
                    f'{sample}, row {index + 1}: {column.name} is {line[column.name]!r}, which is no number; '
                    f'a column of strings is named so: --features …,{column.name}:string'
                ) from None
    return rows


def _steps(model: Any) -> list[Any]:
    """The model, and all that lies within pipelines and column transformers."""
    found = [model]
    for each in found:
        found += [step for _, step in getattr(each, 'steps', [])]
        found += [part for _, part, _ in getattr(each, 'transformers_', []) if hasattr(part, 'get_params')]
    return found


def _placed(model: Any, names: list[str]) -> list[tuple[Any, list[int]]]:
    """What takes columns of the input itself, first steps and parts of column transformers, with their places."""
    first = model.steps[0][1] if hasattr(model, 'steps') else model
    if not hasattr(first, 'transformers_'):
        return [(first, list(range(len(names) or getattr(first, 'n_features_in_', 0))))]
    placed = []
    for _, part, chosen in first.transformers_:
        if not hasattr(part, 'get_params') or isinstance(chosen, (slice, bool)):
            continue
        inner = part.steps[0][1] if hasattr(part, 'steps') else part
        chosen = [chosen] if isinstance(chosen, (str, int)) else list(chosen)
        placed.append((inner, [names.index(each) if isinstance(each, str) else int(each) for each in chosen]))
    return placed


def _categories(model: Any, names: list[str]) -> dict[int, list[str]]:
    """The strings that an encoder has seen, by column; columns whose categories are numbers are left out."""
    found = {}
    for part, places in _placed(model, names):
        for place, values in zip(places, getattr(part, 'categories_', [])):
            if all(isinstance(value, str) for value in values):
                found[place] = [str(value) for value in values]
    return found


def _ranges(model: Any, count: int) -> dict[int, tuple[float, float]]:
    """From where to where the numbers of a column lie, as far as the model tells: of scalers, trees, kept rows."""
    names = [str(name) for name in getattr(model, 'feature_names_in_', [])] or [''] * count
    found: dict[int, tuple[float, float]] = {}
    for part, places in _placed(model, names):
        for place, (low, high) in zip(places, _bounds(part)):
            if np.isfinite([low, high]).all() and low < high:
                found[place] = (float(low), float(high))
    return found


def _bounds(part: Any) -> list[tuple[float, float]]:
    if hasattr(part, 'data_min_'):
        return list(zip(part.data_min_, part.data_max_))
    if getattr(part, 'scale_', None) is not None and getattr(part, 'mean_', None) is not None:
        return list(zip(part.mean_ - 2 * part.scale_, part.mean_ + 2 * part.scale_))
    for kept in ('support_vectors_', '_fit_X'):
        rows = getattr(part, kept, None)
        if isinstance(rows, np.ndarray) and rows.ndim == 2:
            return list(zip(rows.min(axis=0), rows.max(axis=0)))
    splits = _splits(part)
    if not splits:
        return []
    # A little beyond the outermost splits, so that the outer leaves are met.
    width = {column: (max(values) - min(values)) or 1.0 for column, values in splits.items()}
    count = getattr(part, 'n_features_in_', max(splits) + 1)
    return [
        (min(splits[at]) - width[at] / 4, max(splits[at]) + width[at] / 4) if at in splits else (np.nan, np.nan)
        for at in range(count)
    ]


def _splits(part: Any) -> dict[int, list[float]]:
    """Where trees split, by column."""
    splits: dict[int, list[float]] = {}
    library = type(part).__module__.split('.')[0]
    if library == 'lightgbm':
        for tree in part.booster_.dump_model()['tree_info']:
            _walk(tree['tree_structure'], ('left_child', 'right_child'), 'split_feature', 'threshold', splits)
    elif library == 'xgboost':
        names = part.get_booster().feature_names
        for tree in part.get_booster().get_dump(dump_format='json'):
            found: dict = {}
            _walk(json.loads(tree), ('children',), 'split', 'split_condition', found)
            for name, values in found.items():
                splits.setdefault(names.index(name) if names else int(name[1:]), []).extend(values)
    else:
        for tree in (each.tree_ for each in _members(part) if hasattr(each, 'tree_')):
            for column, value in zip(tree.feature, tree.threshold):
                # Leaves have a negative column.
                if column >= 0:
                    splits.setdefault(int(column), []).append(float(value))
    return splits


def _members(part: Any) -> list[Any]:
    """An estimator, and those that it is made of: lists, and arrays of them (gradient boosting)."""
    found = [part]
    for each in found:
        for inner in getattr(each, 'estimators_', []):
            found += list(inner) if isinstance(inner, np.ndarray) else [inner]
    return found


def _walk(node: dict, children: tuple[str, ...], column: str, value: str, splits: dict) -> None:
    if column in node and isinstance(node.get(value), (int, float)):
        splits.setdefault(node[column], []).append(float(node[value]))
    for name in children:
        inner = node.get(name, [])
        for child in inner if isinstance(inner, list) else [inner]:
            _walk(child, children, column, value, splits)
