import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../src/core/clock.ts'
import { SluiceError } from '../src/core/errors.ts'
import { silentLog } from '../src/core/log.ts'
import type { GoldenSample, ModelSpec } from '../src/core/model.ts'
import { packObject, unpackRow } from '../src/core/rows.ts'
import type { RowSpec } from '../src/core/tensor.ts'
import { FolderStore } from '../src/models/store.ts'
import { openModel } from '../src/serving/serving.ts'
import type { RecordedExport } from './exports-table.ts'

export const STORE = fileURLToPath(new URL('../test/fixtures/exports', import.meta.url))

/** In the first part of the rows, chunks of a fixed batch are full; in the second one, one is padded. */
const LAST_ROWS = 3

/** What was measured: `RecordedExport` with the very difference instead of what it stays atMost. */
export type MeasuredExport = Omit<RecordedExport, 'atMost'> & { readonly difference: number }

/** The names in the store; one whose weights lie in a file of their own is left out, because it is not served. */
export async function servedExports(): Promise<string[]> {
  const models = await new FolderStore(STORE).list()
  return models.map(model => model.name).filter(name => !name.endsWith('-external-data'))
}

/** The runtime's package and version. */
export function runtimeVersion(): string {
  const { name, version } = createRequire(import.meta.url)('onnxruntime-node/package.json')
  return `${name} ${version}`
}

/**
 * Opens an export as a worker does, on the CPU, predicts its golden samples, and compares them with the predictions of the
 * library that trained it.
 * @throws SluiceError what `openModel` throws, and `golden-mismatch` where the two do not even have the same shape.
 */
export async function measureExport(name: string): Promise<MeasuredExport> {
  const golden = await (await new FolderStore(STORE).find(name)).golden()
  const store = { modelStore: STORE, modelStoreTimeoutMs: 10_000, modelCacheDir: '' }
  const settings = { ...store, modelName: name, modelVersion: undefined, sessions: 'cpu', intraOpThreads: 1 }
  const tools = { log: silentLog, clock: systemClock }
  const { spec, pool, close } = await openModel({ ...settings, maxBatchSize: 64, runTimeoutMs: 60_000 }, tools)
  try {
    const slot = pool.acquire()!
    for (const [row, { input }] of golden.entries()) {
      const fault = packObject(input, spec.inputs, slot.inputs, row, true)
      if (fault !== undefined) throw new SluiceError('golden-mismatch', `${name}, sample ${row + 1}: ${fault.message}`)
    }
    const first = golden.length - LAST_ROWS
    await pool.run(slot, 0, first)
    await pool.run(slot, first, LAST_ROWS)
    const rows = golden.map((_, row) => unpackRow(spec.outputs, slot.outputs, row))
    return { ...describe(spec), samples: golden.length, ...compare(spec, golden, rows) }
  } finally {
    await close()
  }
}

function describe(spec: ModelSpec) {
  const { library, exporter, model, dataset } = spec.training as Record<string, string>
  const shapes = (tensors: readonly RowSpec[]) =>
    tensors.map(({ type, rowShape }) => `${type}[${[spec.fixedBatch ?? 'N', ...rowShape].join(',')}]`).join(', ')
  return {
    name: spec.name,
    sha256: spec.sha256,
    library: library!,
    exporter: exporter!,
    model: model!,
    dataset: dataset!,
    inputs: shapes(spec.inputs),
    outputs: shapes(spec.outputs),
  }
}

/** The largest difference of a floating-point answer, Infinity where another one is not equal; and the largest answer. */
function compare(spec: ModelSpec, golden: readonly GoldenSample[], rows: readonly Record<string, unknown>[]) {
  let difference = 0
  let largest: number | null = null
  for (const [row, sample] of golden.entries()) {
    for (const { field, type } of spec.outputs) {
      const got = [rows[row]![field]].flat()
      const expected = [sample.output[field]].flat()
      if (got.length !== expected.length) {
        throw new SluiceError(
          'golden-mismatch',
          `${spec.name}: ${field} has ${got.length} elements, not ${expected.length}`,
        )
      }
      for (const [i, value] of got.entries()) {
        if (type.startsWith('float')) {
          difference = Math.max(difference, Math.abs((value as number) - (expected[i] as number)))
          largest = Math.max(largest ?? 0, Math.abs(expected[i] as number))
        } else if (value !== expected[i]) difference = Number.POSITIVE_INFINITY
      }
    }
  }
  return { difference, largest }
}
