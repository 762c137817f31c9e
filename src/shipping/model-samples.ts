import type { Settings } from '../config/settings.ts'
import { messageOf, SluiceError } from '../core/errors.ts'
import { packObject, unpackRow } from '../core/rows.ts'
import { parseSessions } from '../inference/placement.ts'
import { createSessionPool, type OnnxSessionPool } from '../inference/pool.ts'
import type { ModelBundle } from '../models/bundle.ts'
import { madeUpRows, rowsFor } from '../models/made-up-rows.ts'
import type { CheckTools } from './model-check.ts'

/** Golden samples that a model made of itself. */
export interface SelfMadeSamples {
  /** The content of golden.jsonl. */
  readonly text: string
  readonly count: number
  /** Label of the provider that ran them. */
  readonly provider: string
  /** Of the rows that the runtime refused, the last reason; undefined when it took all. */
  readonly refusal: string | undefined
}

type SampleSettings = Pick<Settings, 'sessions' | 'intraOpThreads' | 'runTimeoutMs'>

/**
 * Runs made-up rows through a model, and takes what comes out for golden. Rows that the runtime refuses (a word that an
 * encoder does not know) are left out.
 * @throws SluiceError what opening the model throws, or a run that costs the thread
 */
export async function makeSamples(
  { spec, modelFile }: ModelBundle,
  { sessions, intraOpThreads, runTimeoutMs }: SampleSettings,
  { log, clock, openTimeoutMs, threadUrl }: CheckTools,
): Promise<SelfMadeSamples> {
  const pool = await createSessionPool({
    modelFile,
    spec,
    sessions: parseSessions(sessions).slice(0, 1),
    intraOpThreads,
    maxBatchSize: 1,
    runTimeoutMs,
    openTimeoutMs,
    log,
    clock,
    threadUrl,
  })
  try {
    const width = [...spec.inputs, ...spec.outputs].reduce((sum, each) => sum + each.width, 0)
    return await runRows({ spec, pool }, madeUpRows(spec.inputs, rowsFor(width)))
  } finally {
    await pool.close()
  }
}

async function runRows(
  { spec, pool }: Pick<ModelBundle, 'spec'> & { readonly pool: OnnxSessionPool },
  rows: ReturnType<typeof madeUpRows>,
): Promise<SelfMadeSamples> {
  const slot = pool.acquire()!
  const lines: string[] = []
  let refusal: string | undefined
  for (const input of rows) {
    const fault = packObject(input, spec.inputs, slot.inputs, 0, true)
    if (fault !== undefined) throw new SluiceError('internal', `a made-up row does not fit: ${fault.message}`)
    try {
      await pool.run(slot, 0, 1)
      lines.push(`${goldenLine({ input, output: unpackRow(spec.outputs, slot.outputs, 0) })}\n`)
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'inference-failed') throw error
      refusal = messageOf(error)
    }
  }
  return { text: lines.join(''), count: lines.length, provider: pool.providers[0]!, refusal }
}

/** As docs/models.md has it: what JSON has no number for is text. */
function goldenLine(sample: unknown): string {
  return JSON.stringify(sample, (_, value) => {
    if (typeof value === 'bigint') return String(value)
    return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value
  })
}
