/**
 * One of several I/O threads: a whole replica, a member of the group of its own, whose sessions the main thread has. It
 * speaks of its health to the main thread, answers what it is asked, and ends once it is drained.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { systemClock as clock } from '../core/clock.ts'
import { packError } from '../core/error-transfer.ts'
import type { SluiceError } from '../core/errors.ts'
import { within } from '../core/waiting.ts'
import { PoolClient } from '../inference/pool-client.ts'
import type { HealthReporter, WorkerState } from '../ops/health.ts'
import { createLog } from '../ops/log.ts'
import { Metrics } from '../ops/metrics.ts'
import { Probe } from '../serving/probe.ts'
import type { ReplicaModel } from '../serving/served-versions.ts'
import type { IoReply, IoReports, IoRequest, IoThreadSetup, LentModel } from './io-messages.ts'
import { CLOSE_TIMEOUT_MS, ReplicaRun } from './replica-run.ts'

const { thread, settings, connection, models, live } = workerData as IoThreadSetup
const port = parentPort!
const send = (reply: IoReply) => port.postMessage(reply)

/** Passes on what the worker's health must know. */
class RemoteHealth implements HealthReporter {
  readonly #set = new Set<string>()
  #state: WorkerState = 'STARTING'

  get state(): WorkerState {
    return this.#state
  }

  enter(state: WorkerState): void {
    this.#state = state
    send({ kind: 'state', state })
  }

  set(key: string, error: SluiceError): void {
    this.#set.add(key)
    send({ kind: 'condition', key, error: packError(error) })
  }

  clear(key: string): void {
    if (this.#set.delete(key)) send({ kind: 'condition', key, error: undefined })
  }
}

const log = createLog({ level: settings.logLevel, format: settings.logFormat, name: 'sluice' }).child({ thread })
const metrics = new Metrics({ release: undefined, process: false })
const pools = new Map<string, PoolClient>()
const begin = Promise.withResolvers<void>()
const run = new ReplicaRun({
  settings,
  connection,
  tools: { log, clock, health: new RemoteHealth(), metrics },
  models: models.map(open),
  live,
  onJoined: (generation, memberId) => send({ kind: 'joined', generation, memberId }),
  mayBegin: begin.promise,
  onFailed: error => send({ kind: 'failed', error: packError(error) }),
  onLeft: version => void close(version),
})

function open({ spec, sample, pool: loan }: LentModel): ReplicaModel {
  const pool = new PoolClient(loan, clock)
  pools.set(spec.version, pool)
  return { spec, pool, probe: new Probe(spec, pool, sample) }
}

async function prepare(model: LentModel): Promise<void> {
  const { version } = model.spec
  try {
    await run.prepare(open(model))
    send({ kind: 'prepared', version, error: undefined })
  } catch (error) {
    send({ kind: 'prepared', version, error: packError(error as Error) })
  }
}

async function close(version: string): Promise<void> {
  await pools.get(version)?.close()
  pools.delete(version)
  send({ kind: 'left', version })
}

async function report(what: keyof IoReports): Promise<void> {
  if (what === 'status') send({ kind: 'report', what, status: run.status() })
  else send({ kind: 'report', what, metrics: await metrics.snapshot() })
}

const stop = new AbortController()
port.on('message', (request: IoRequest) => {
  if (request.kind === 'report') void report(request.what)
  else if (request.kind === 'begin') begin.resolve()
  else if (request.kind === 'prepare') void prepare(request.model)
  else if (request.kind === 'adopt') run.adopt(request.live)
  else if (request.kind === 'retire') run.retire(request.version)
  else stop.abort()
})

try {
  await run.serve(stop.signal)
} catch (error) {
  send({ kind: 'failed', error: packError(error) })
}
await within(clock, CLOSE_TIMEOUT_MS, Promise.all([run.close(), ...[...pools.values()].map(pool => pool.close())]))
// The last words: from now on nobody can ask.
await report('status')
await report('metrics')
send({ kind: 'done' })
// Sockets of a broker that went away must not keep the thread alive.
process.exit()
