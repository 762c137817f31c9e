import type { Fault, Strike } from '../fault.ts'
import { arm } from '../preload/arm.ts'
import type { SessionAction } from '../preload/points.ts'
import type { Stage } from '../stage.ts'

/**
 * The next run of one session of one worker fails in this way. Not the first one: a model that breaks a session before it
 * has repeated its golden samples ends the worker, as it should.
 */
export async function strikeSession(stage: Stage, action: SessionAction): Promise<Strike> {
  const worker = stage.take()
  await worker.waitForLog(line => 'samples' in line)
  const armed = await arm(worker.child, { session: action })
  // A worker that has no partition has no runs: then there is nothing to strike.
  await Promise.race([armed.hit, stage.forMs(NO_RUNS_MS)])
  return { since: Date.now() }
}

const NO_RUNS_MS = 3_000

/** A run that takes longer is given up; far below the default, so that a strike takes seconds. */
const RUN_TIMEOUT_MS = '2000'

export const SESSION_FAULTS: readonly Fault[] = [
  {
    name: 'session-crash',
    what: 'a session thread dies during a run',
    strikes: 20,
    short: [0],
    servers: 'broker',
    limitMs: 2_000,
    strike: stage => strikeSession(stage, 'crash'),
  },
  {
    name: 'session-hang',
    what: `a run never returns (RUN_TIMEOUT_MS=${RUN_TIMEOUT_MS})`,
    strikes: 20,
    short: [0],
    servers: 'broker',
    env: { RUN_TIMEOUT_MS },
    mayEndWith: 1, // when more threads hang than a worker bears
    limitMs: 4_000,
    strike: stage => strikeSession(stage, 'hang'),
  },
  {
    name: 'session-throw',
    what: 'the runtime refuses a batch that is good',
    strikes: 20,
    servers: 'broker',
    limitMs: 2_000,
    strike: stage => strikeSession(stage, 'throw'),
  },
]
