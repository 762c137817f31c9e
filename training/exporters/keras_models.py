"""Keras networks on TensorFlow, exported by Keras itself (which takes tf2onnx for it)."""

import os
import tempfile
from pathlib import Path

# Before TensorFlow is imported: no notes about this machine's processor, and answers that do not depend on it.
os.environ.setdefault('KERAS_BACKEND', 'tensorflow')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')

import keras
import numpy as np
import onnx
from keras import layers

from exported import Answer, Exported, Input
from exporters import data
from model import RANDOM_STATE, Feature


def mlp() -> Exported:
    """One input, one output, a batch of any size."""
    wine = data.wine()
    keras.utils.set_random_seed(RANDOM_STATE)
    measures = keras.Input((13,), name='measures')
    # Not Normalization: Keras 3.15 exports its constants as inputs that nobody can feed.
    scaled = layers.BatchNormalization(momentum=0.9)(measures)
    scores = layers.Dense(3, 'softmax')(layers.Dense(16, 'relu')(scaled))
    model = keras.Model(measures, scores)
    _fit(model, wine.data.train, wine.data.train_target, 'sparse_categorical_crossentropy')
    graph = _export(model)
    return Exported(
        name='keras-mlp',
        library='keras',
        exporter='tf2onnx',
        model='BatchNormalization, Dense, Dense',
        dataset='wine',
        graph=graph,
        inputs=(Input('measures', wine.features, wine.golden),),
        answers=_answers(graph, ('scores',), model.predict(wine.golden, verbose=0)),
    )


def several() -> Exported:
    """Numbers and a country's number in; whether the order comes back and what it will cost out."""
    orders = data.orders()
    numbers = np.column_stack([orders.amount / 100, orders.items]).astype(np.float32)
    country = np.searchsorted(data.COUNTRIES, orders.country).astype(np.int32).reshape(-1, 1)
    keras.utils.set_random_seed(RANDOM_STATE)
    numbers_in = keras.Input((2,), name='numbers')
    country_in = keras.Input((1,), name='country', dtype='int32')
    place = layers.Flatten()(layers.Embedding(len(data.COUNTRIES), 3)(country_in))
    hidden = layers.Dense(12, 'relu')(layers.Concatenate()([numbers_in, place]))
    returned = layers.Dense(1, 'sigmoid')(hidden)
    cost = layers.Dense(1)(hidden)
    model = keras.Model([numbers_in, country_in], [returned, cost])
    wanted = [orders.returned[:400, None].astype(np.float32), numbers[:400, :1] * orders.returned[:400, None]]
    _fit(model, [numbers[:400], country[:400]], wanted, ['binary_crossentropy', 'mse'])
    golden = [numbers[400:440], country[400:440]]
    graph = _export(model)
    return Exported(
        name='keras-several',
        library='keras',
        exporter='tf2onnx',
        model='Embedding, Dense; two inputs, two outputs',
        dataset='orders (made up)',
        graph=graph,
        inputs=(
            Input('numbers', (Feature('amount'), Feature('items')), golden[0]),
            Input('country', (Feature('country'),), golden[1]),
        ),
        answers=_answers(graph, ('returned', 'cost'), *model.predict(golden, verbose=0)),
    )


def _fit(model: keras.Model, rows, target, loss) -> None:
    """Enough training for the answers to mean something; the order of the rows is the same each time."""
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(rows, target, epochs=20, batch_size=50, shuffle=False, verbose=0)


def _answers(graph: onnx.ModelProto, fields: tuple[str, ...], *values: np.ndarray) -> tuple[Answer, ...]:
    """The graph has names of its own for the outputs (Identity:0, …), in the order of the model."""
    names = [output.name for output in graph.graph.output]
    return tuple(Answer(*answer) for answer in zip(names, fields, values, strict=True))


def _export(model: keras.Model) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'model.onnx'
        model.export(file, format='onnx', verbose=False)
        return onnx.load(file)


EXPORTERS = {'keras-mlp': mlp, 'keras-several': several}
