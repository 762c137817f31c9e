import { setTimeout as delay } from 'node:timers/promises'
import type { WorkerProcess } from '../../test/support/sluice-process.ts'
import type { Fault, Strike } from '../fault.ts'
import { arm, hit, withOrders } from '../preload/arm.ts'
import { type FaultPointName, faultPoints, type PointAction } from '../preload/points.ts'
import { SESSION_TIMEOUT_MS, type Stage } from '../stage.ts'

/** What docs/reliability.md promises: the session time-out, and what it takes to take over. */
const TAKEOVER_MS = 2_000
const LIMIT_MS = SESSION_TIMEOUT_MS + TAKEOVER_MS

/** Kills a worker at once, and sometimes does not wait for the others to notice before another one starts. */
export async function killOne(stage: Stage): Promise<Strike> {
  const victim = stage.take()
  const since = Date.now()
  await victim.kill()
  if (stage.random.below(2) === 0) stage.join()
  return { since }
}

/** Points that a worker passes only when it begins to own partitions: it must be struck from its first moment. */
const AT_START = /join|sync|initialise|offset-read/

/** Lets a worker strike itself at a named point. Resolves right after it did. */
async function strikeAt(stage: Stage, point: FaultPointName, action: PointAction): Promise<WorkerProcess> {
  if (AT_START.test(point)) {
    const newcomer = stage.join(withOrders([{ point, action }]))
    stage.struck.add(newcomer)
    await hit(newcomer.child)
    return newcomer
  }
  const victim = stage.take()
  const armed = await arm(victim.child, { point, action, occurrence: 1 + stage.random.below(5) })
  await armed.hit
  return victim
}

async function killAtPoint(stage: Stage, turn: number): Promise<Strike> {
  const names = Object.keys(faultPoints) as FaultPointName[]
  const victim = await strikeAt(stage, names[turn % names.length]!, 'SIGKILL')
  const since = Date.now()
  await victim.exited
  return { since }
}

/** Until the group has given its partitions to others, and a little longer. */
const ASLEEP_MS = SESSION_TIMEOUT_MS + 1_500

/** When the zombie has slept for long enough it wakes up, finds that it is none of the group, and is a member again. */
function sleep(zombie: WorkerProcess): Strike {
  const asleep = delay(ASLEEP_MS)
  const mend = async () => {
    await asleep
    zombie.signal('SIGCONT')
  }
  return { since: Date.now(), mend }
}

async function pauseOne(stage: Stage): Promise<Strike> {
  const zombie = stage.take()
  zombie.signal('SIGSTOP')
  return sleep(zombie)
}

const ZOMBIE_POINTS: readonly FaultPointName[] = [
  'before-initialise',
  'after-initialise',
  'after-offset-read',
  'before-produce',
  'before-offsets',
  'before-end',
  'after-end',
]

async function pauseAtPoint(stage: Stage, turn: number): Promise<Strike> {
  const point = ZOMBIE_POINTS[turn % ZOMBIE_POINTS.length]!
  return sleep(await strikeAt(stage, point, 'SIGSTOP'))
}

const MOST_REPLICAS = 6

/** One joins or one leaves in good order: between one and six. */
export async function changeReplicas(stage: Stage): Promise<Strike> {
  const { length } = stage.replicas
  const grow = length === 1 || (length < MOST_REPLICAS && stage.random.below(2) === 0)
  const since = Date.now()
  if (grow) await stage.join().ready()
  else await stage.leave(stage.take())
  return { since }
}

async function stopOne(stage: Stage): Promise<Strike> {
  const since = Date.now()
  await stage.leave(stage.take())
  return { since }
}

/** The turns at which these of all names have their turn. */
function turnsOf(all: readonly string[], chosen: readonly FaultPointName[]): number[] {
  return chosen.map(name => all.indexOf(name))
}

export const WORKER_FAULTS: readonly Fault[] = [
  {
    name: 'worker-kill',
    what: 'SIGKILL of one of two workers, at any moment',
    strikes: 100,
    short: [0, 1],
    servers: 'broker',
    limitMs: LIMIT_MS,
    strike: killOne,
  },
  {
    name: 'worker-kill-default',
    what: 'the same with the default settings (sessions of 10 s)',
    strikes: 20,
    servers: 'broker',
    defaults: true,
    limitMs: 12_000,
    strike: killOne,
  },
  {
    name: 'worker-kill-at-point',
    what: 'SIGKILL right before or after each of ten requests of the protocol',
    strikes: 10 * Object.keys(faultPoints).length,
    short: turnsOf(Object.keys(faultPoints), ['after-initialise', 'after-produce', 'before-end', 'after-end']),
    servers: 'broker',
    limitMs: LIMIT_MS,
    strike: killAtPoint,
  },
  {
    name: 'worker-pause',
    what: 'SIGSTOP past the session time-out, then SIGCONT (a zombie)',
    strikes: 30,
    servers: 'broker',
    limitMs: LIMIT_MS,
    strike: pauseOne,
  },
  {
    name: 'worker-pause-at-point',
    what: 'the same right before it initialises, and at six other requests',
    strikes: 35,
    short: turnsOf(ZOMBIE_POINTS, ['before-initialise', 'before-end']),
    servers: 'broker',
    limitMs: LIMIT_MS,
    strike: pauseAtPoint,
  },
  {
    name: 'worker-stop',
    what: 'SIGTERM of one of two workers',
    strikes: 30,
    servers: 'broker',
    limitMs: 2_000,
    strike: stopOne,
  },
  {
    name: 'replicas',
    what: 'one to six workers, joining and leaving in good order',
    strikes: 200,
    servers: 'broker',
    strike: changeReplicas,
  },
]
