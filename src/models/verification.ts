import { messageOf, SluiceError } from '../core/errors.ts'
import type { SessionPool } from '../core/inference.ts'
import type { GoldenSample, ModelSpec, OutputSpec, Tolerance } from '../core/model.ts'
import { packObject, unpackRow } from '../core/rows.ts'
import type { TensorSlot } from '../core/tensor.ts'
import type { ModelBundle } from './bundle.ts'

/** What was verified. */
export interface Verification {
  /** Golden samples that came out right; 0 when the bundle has none, which proves nothing. */
  readonly samples: number
  /** Where they ran, each once. */
  readonly providers: readonly string[]
}

/**
 * Runs the golden samples of a bundle and compares the outputs with what the trainer saw. Each batch of samples runs
 * on as many sessions at once as have slots, so that in a pool that does nothing else every session is put to the test.
 * @throws SluiceError `golden-mismatch`, naming sample, field, value and difference; `session-crashed` from the pool;
 *   `model-corrupt` when the samples cannot be read.
 */
export async function verify(bundle: ModelBundle, pool: SessionPool): Promise<Verification> {
  const samples = await bundle.golden()
  const slots = acquireSlots(pool)
  const providers = new Set<string>()
  try {
    const capacity = slots[0]!.capacity
    for (let first = 0; first < samples.length; first += capacity) {
      const batch = samples.slice(first, first + capacity)
      // All runs must have ended before the slots go back, whatever came of them.
      const runs = await Promise.allSettled(slots.map(slot => verifyBatch(bundle.spec, pool, slot, batch, first)))
      for (const run of runs) {
        if (run.status === 'rejected') throw run.reason
        providers.add(run.value)
      }
    }
  } finally {
    for (const slot of slots) pool.release(slot)
  }
  return { samples: samples.length, providers: [...providers] }
}

/** What golden samples are worth, for people. */
export function originOf({ golden }: ModelSpec): string {
  if (golden?.origin !== 'self-made') return 'they are of the trainer'
  const where = golden.madeOn === undefined ? 'the one that made them' : `the one that made them (${golden.madeOn})`
  return `they are self-made and prove only that this machine computes what ${where} did`
}

function acquireSlots(pool: SessionPool): TensorSlot[] {
  const slots: TensorSlot[] = []
  while (slots.length < pool.size) {
    const slot = pool.acquire()
    if (slot === undefined) break
    slots.push(slot)
  }
  if (slots.length === 0) throw new SluiceError('internal', 'verification needs a free slot, and the pool has none')
  return slots
}

/** Runs samples in rows [0, samples.length) of `slot`, compares them, and returns the provider that they ran on. */
async function verifyBatch(
  spec: ModelSpec,
  pool: SessionPool,
  slot: TensorSlot,
  samples: readonly GoldenSample[],
  first: number,
): Promise<string> {
  samples.forEach((sample, row) => {
    const fault = packObject(sample.input, spec.inputs, slot.inputs, row, true)
    if (fault !== undefined) throw mismatch(spec, first + row, `its input cannot be packed: ${fault.message}`)
  })
  const { provider } = await pool.run(slot, 0, samples.length).catch(error => {
    if (error instanceof SluiceError && error.response === 'retry') throw error
    const which = `one of the samples ${first + 1} to ${first + samples.length}`
    throw new SluiceError('golden-mismatch', `${titleOf(spec)}: the runtime refuses ${which}: ${messageOf(error)}`)
  })
  samples.forEach((sample, row) => {
    const outputs = unpackRow(spec.outputs, slot.outputs, row)
    for (const output of spec.outputs) {
      const problem = outputDifference(output, sample.output[output.field], outputs[output.field], spec.tolerance)
      if (problem !== undefined) throw mismatch(spec, first + row, `on ${provider}, ${problem}`)
    }
  })
  return provider
}

/**
 * How one output differs from its golden value, in words, or undefined. Matrices may be nested or flat. `usual` is the
 * tolerance of the model, which an output may replace by its own.
 */
export function outputDifference(
  output: OutputSpec,
  expected: unknown,
  got: unknown,
  usual: Tolerance,
): string | undefined {
  const tolerance = output.tolerance ?? usual
  const field = `field "${output.field}"`
  if (!Array.isArray(got)) return elementDifference(field, output, expected, got, tolerance)
  const expectedElements = Array.isArray(expected) ? expected.flat(Number.POSITIVE_INFINITY) : undefined
  if (expectedElements?.length !== got.length) {
    return `${field} has ${got.length} elements, expected ${JSON.stringify(expected)}`
  }
  for (let i = 0; i < got.length; i++) {
    const problem = elementDifference(`element ${i} of ${field}`, output, expectedElements[i], got[i], tolerance)
    if (problem !== undefined) return problem
  }
  return undefined
}

function elementDifference(
  what: string,
  { type }: OutputSpec,
  expected: unknown,
  got: unknown,
  { absolute, relative }: Tolerance,
): string | undefined {
  const plain = `${what} is ${got}, expected ${JSON.stringify(expected)}`
  if (type === 'bool' || type === 'string') return got === expected ? undefined : plain
  // Integers beyond 2^53 are written as strings of digits, since JSON has no exact number for them.
  if (type === 'int64' || type === 'int32') return String(got) === String(expected) ? undefined : `${plain} exactly`
  const number = goldenNumber(expected)
  if (number === undefined) return `${plain}, which is no number`
  if (Object.is(got, number) || got === number) return undefined
  const distance = Math.abs((got as number) - number)
  const allowed = absolute + relative * Math.abs(number)
  if (distance <= allowed && Number.isFinite(number)) return undefined
  return `${plain}: the difference is ${distance}, allowed is ${allowed}`
}

/** A golden value of a float tensor; JSON has no numbers for NaN and the infinities, so they are strings. */
function goldenNumber(value: unknown): number | undefined {
  if (value === 'NaN' || value === 'Infinity' || value === '-Infinity') return Number(value)
  return typeof value === 'number' ? value : undefined
}

function mismatch(spec: ModelSpec, index: number, problem: string): SluiceError {
  return new SluiceError('golden-mismatch', `${titleOf(spec)}: golden sample ${index + 1}: ${problem}`)
}

function titleOf(spec: ModelSpec): string {
  return `model "${spec.name}", version "${spec.version}"`
}

/** An output as golden samples have it: integers beyond 2^53 as digits. */
export function asGolden(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asGolden)
  return typeof value === 'bigint' ? String(value) : value
}
