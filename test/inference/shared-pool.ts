import type { TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { systemClock } from '../../src/core/clock.ts'
import { PoolClient } from '../../src/inference/pool-client.ts'
import { type LendablePool, PoolServer } from '../../src/inference/pool-server.ts'
import type { SlotLayout } from '../../src/inference/slots.ts'

export interface SharedPool {
  readonly server: PoolServer
  readonly clients: readonly PoolClient[]
  /** Busy sessions of all, as they were reported. */
  readonly reports: readonly string[]
}

/** Lends a pool to as many clients, all on this thread: the messages between them are as real as they are between two. */
export function share(
  t: TestContext | undefined,
  pool: LendablePool,
  layout: SlotLayout,
  { clients = 2, slotsEach = 2 } = {},
): SharedPool {
  const reports: string[] = []
  const onBusy = (busy: number, size: number) => reports.push(`${busy} of ${size}`)
  const server = new PoolServer({ pool, clock: systemClock, layout, clients, slotsEach, onBusy })
  const made = Array.from({ length: clients }, () => new PoolClient(server.lend(), systemClock))
  t?.after(() => server.close())
  return { server, clients: made, reports }
}

/** Resolves when `holds`; looks after every turn of the event loop. */
export async function when(holds: () => boolean): Promise<void> {
  while (!holds()) await turn()
}

/** Lets all messages arrive that are on the way, and those that they are answered with. */
export async function quiet(): Promise<void> {
  for (let turns = 0; turns < 12; turns++) await turn()
}
