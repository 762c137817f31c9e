import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Clock, systemClock, type Timer } from '../../src/core/clock.ts'
import { type Log, silentLog } from '../../src/core/log.ts'
import type { ModelSpec } from '../../src/core/model.ts'
import type { PoolTelemetry } from '../../src/core/telemetry.ts'
import type { ElementType, RowSpec } from '../../src/core/tensor.ts'
import { parseSessions } from '../../src/inference/placement.ts'
import { createSessionPool, type OnnxSessionPool, type SessionPoolOptions } from '../../src/inference/pool.ts'

export interface Fixture {
  readonly modelFile: string
  readonly spec: ModelSpec
}

type Tensors = Readonly<Record<string, readonly [type: ElementType, rowShape: readonly number[]]>>

/** A model of test/fixtures/onnx with the description that a model.json would give it. */
export function fixture(name: string, inputs: Tensors, outputs: Tensors, fixedBatch: number | null = null): Fixture {
  const modelFile = fileURLToPath(new URL(`../fixtures/onnx/${name}.onnx`, import.meta.url))
  const spec: ModelSpec = {
    name,
    version: '1',
    sha256: createHash('sha256').update(readFileSync(modelFile)).digest('hex'),
    inputs: rowSpecs(inputs).map(input => ({ ...input, features: [] })),
    outputs: rowSpecs(outputs).map(output => ({ ...output, field: output.tensor })),
    fixedBatch,
    tolerance: { absolute: 0, relative: 0 },
    training: {},
  }
  return { modelFile, spec }
}

function rowSpecs(tensors: Tensors): RowSpec[] {
  return Object.entries(tensors).map(([tensor, [type, rowShape]]) => {
    return { tensor, type, rowShape, width: rowShape.reduce((product, dimension) => product * dimension, 1) }
  })
}

/** Adds up the four numbers of each row. */
export const rowSums = () => fixture('row-sums', { x: ['float32', [4]] }, { sum: ['float32', [1]] })

/** Ten times the index, from 0 to 9; the runtime refuses any other. */
export const lookup = () => fixture('lookup', { index: ['int64', [1]] }, { value: ['float32', [1]] })

/** Twice the four numbers of each row, which the graph takes and gives as 16-bit floats. */
export const half = () => fixture('half', { x: ['float16', [4]] }, { twice: ['float16', [4]] })

export async function openPool(
  { modelFile, spec }: Fixture,
  sessions = 'cpu',
  options: Partial<SessionPoolOptions> = {},
): Promise<OnnxSessionPool> {
  return createSessionPool({
    modelFile,
    spec,
    sessions: parseSessions(sessions),
    intraOpThreads: 1,
    maxBatchSize: 64,
    runTimeoutMs: 60_000,
    log: silentLog,
    clock: systemClock,
    ...options,
  })
}

/** The clock of the machine, but timers only fire when told to. */
export class ManualTimers implements Clock {
  #skipped = 0
  readonly now = () => systemClock.now() + this.#skipped
  readonly wallTime = systemClock.wallTime
  readonly sleep = systemClock.sleep
  readonly #pending: { delayMs: number; callback: () => void }[] = []
  readonly #wakes = new Set<() => void>()

  after(delayMs: number, callback: () => void): Timer {
    const timer = { delayMs, callback }
    this.#pending.push(timer)
    for (const wake of this.#wakes) wake()
    return {
      cancel: () => {
        const at = this.#pending.indexOf(timer)
        if (at >= 0) this.#pending.splice(at, 1)
      },
    }
  }

  /**
   * Fires the next timer that is set for no longer than `longest`, as soon as there is one, and leaves the others alone;
   * resolves with the delay that it was set for. By default those of restarts, but none that watches a thread.
   */
  async fire(longest = 5_000): Promise<number> {
    await this.armed(longest)
    const timer = this.#pending.splice(this.#next(longest), 1)[0]!
    timer.callback()
    return timer.delayMs
  }

  /** Resolves as soon as there is such a timer. */
  async armed(longest = 5_000): Promise<void> {
    while (this.#next(longest) < 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wakes.add(resolve)
      await promise
      this.#wakes.delete(resolve)
    }
  }

  #next(longest: number): number {
    return this.#pending.findIndex(({ delayMs }) => delayMs <= longest)
  }

  /** Lets time pass in which no timer could fire. */
  skip(ms: number): void {
    this.#skipped += ms
  }

  get pending(): number {
    return this.#pending.length
  }
}

/** Keeps the sentences that are logged, by level. */
export function recordingLog(): { log: Log; lines: string[] } {
  const lines: string[] = []
  const keep = (level: string) => (fields: Record<string, unknown>, message: string) =>
    lines.push(`${level} ${message} ${JSON.stringify(fields)}`)
  const log: Log = {
    debug: keep('debug'),
    info: keep('info'),
    warn: keep('warn'),
    error: keep('error'),
    child: () => log,
  }
  return { log, lines }
}

/** Keeps what a pool reports, as text. */
export function recordingTelemetry(): { telemetry: PoolTelemetry; events: string[] } {
  const events: string[] = []
  const telemetry: PoolTelemetry = {
    sessionOpened: () => {},
    sessionEvent: (provider, event) => events.push(`${provider} ${event}`),
    threadsLeftBehind: count => events.push(`left behind ${count}`),
  }
  return { telemetry, events }
}
