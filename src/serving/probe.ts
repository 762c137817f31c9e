import { SluiceError } from '../core/errors.ts'
import type { Reservation, SessionPool } from '../core/inference.ts'
import type { ModelSpec } from '../core/model.ts'
import { packObject } from '../core/rows.ts'
import type { TensorColumn, TensorSlot } from '../core/tensor.ts'

/**
 * A row that is known to be good, in a slot of its own, to tell a bad session from a bad row: the first golden sample, or,
 * for a bundle without any, the first row that ran well. Before there is one, a session cannot be told from its rows.
 */
export class Probe {
  readonly #sessions: Pick<SessionPool, 'run'>
  readonly #slot: TensorSlot
  #known: boolean

  /**
   * @param pool lends its slot
   * @param sample the input of a golden sample, if there is one
   * @param sessions what runs it; left out: the pool
   */
  constructor(
    spec: ModelSpec,
    pool: SessionPool,
    sample: Readonly<Record<string, unknown>> | undefined,
    sessions: Pick<SessionPool, 'run'> = pool,
  ) {
    const slot = pool.acquire()
    if (slot === undefined) throw new SluiceError('internal', 'The session pool has no slot for the probe.')
    if (sample !== undefined) packObject(sample, spec.inputs, slot.inputs, 0, true)
    this.#sessions = sessions
    this.#slot = slot
    this.#known = sample !== undefined
  }

  /**
   * Runs the good row on this very session. Runs nothing while none is known: a row of zeros may be refused, kill its thread
   * or hang like any other, and would prove nothing.
   * @throws SluiceError when the session fails on it, or cannot be expected back
   */
  async run(session: number, by?: Reservation): Promise<void> {
    if (this.#known) await this.#sessions.run(this.#slot, 0, 1, { only: session, by })
  }

  /** The first row of this slot ran well. Costs nothing once there is a good row. */
  learn(slot: TensorSlot): void {
    if (this.#known) return
    this.#known = true
    for (const [i, column] of slot.inputs.entries()) copyFirstRow(column, this.#slot.inputs[i]!)
  }
}

function copyFirstRow({ spec, data }: TensorColumn, target: TensorColumn): void {
  for (let at = 0; at < spec.width; at++) target.data[at] = data[at]!
}
