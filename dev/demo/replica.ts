import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { StatusBody } from '../../src/ops/status.ts'
import { tail } from '../java.ts'

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))
const TETHER = new URL('../tether.ts', import.meta.url).href
const ASK_EVERY_MS = 50
const STOP_PATIENCE_MS = 15_000

export interface ReplicaOptions {
  /** For people: `A`. */
  readonly name: string
  /** Where it runs and writes its log, `replica-<name>.log`. */
  readonly folder: string
  /** Its whole environment; no `.env` file is read. */
  readonly env: NodeJS.ProcessEnv
  /** A free port for its status page. */
  readonly port: number
}

/** One `sluice worker` in a process of its own, which ends with this one whatever happens (see tether.ts). */
export class Replica {
  readonly name: string
  readonly url: string
  readonly logFile: string
  readonly #process: ChildProcess
  readonly #exit: Promise<string>
  #expected = false

  constructor({ name, folder, env, port }: ReplicaOptions) {
    this.name = name
    this.url = `http://127.0.0.1:${port}`
    this.logFile = join(folder, `replica-${name}.log`)
    const log = openSync(this.logFile, 'a')
    this.#process = spawn(process.execPath, ['--import', TETHER, CLI, 'worker'], {
      cwd: folder,
      env: { ...env, HTTP_HOST: '127.0.0.1', HTTP_PORT: String(port), LOG_FORMAT: 'json' },
      stdio: ['ignore', log, log, 'ipc'],
      // Ctrl-C in a terminal is for the demo alone, which then stops its replicas in good order.
      detached: true,
    })
    closeSync(log)
    this.#exit = once(this.#process, 'exit').then(([code, signal]) => signal ?? `exit code ${code}`)
    this.#exit.catch(() => {})
  }

  /** Rejects, with the end of its log, if the replica ends although nobody stopped or killed it; otherwise never settles. */
  get failure(): Promise<never> {
    return this.#exit.then(how => {
      if (this.#expected) return new Promise<never>(() => {})
      throw new Error(`Replica ${this.name} ended by itself (${how}). The end of its log:\n${this.lastWords()}`)
    })
  }

  /** What it says about itself; undefined while it does not answer. */
  async status(): Promise<StatusBody | undefined> {
    try {
      const response = await fetch(`${this.url}/status`, { signal: AbortSignal.timeout(2_000) })
      return response.ok ? ((await response.json()) as StatusBody) : undefined
    } catch {
      return undefined
    }
  }

  /** Ends it at once, as a crash would (SIGKILL), and resolves when it is gone. */
  async kill(): Promise<void> {
    this.#expected = true
    this.#process.kill('SIGKILL')
    await this.#exit
  }

  /**
   * Asks it to finish what it has in flight (SIGTERM) and resolves when it is gone, at most 15 s later. May be called
   * again, and of one that is gone already.
   * @returns how it ended, `exit code 0` when all went well
   */
  async stop(): Promise<string> {
    this.#expected = true
    this.#process.kill('SIGTERM')
    const patience = setTimeout(() => this.#process.kill('SIGKILL'), STOP_PATIENCE_MS)
    try {
      return await this.#exit
    } finally {
      clearTimeout(patience)
    }
  }

  /** The last lines of its log, each as its level, its message and what it says about a failure. */
  lastWords(): string {
    return tail(readFileSync(this.logFile, 'utf8'), 5).split('\n').map(readable).join('\n')
  }
}

function readable(line: string): string {
  try {
    const { level, msg, reason, remedy } = JSON.parse(line) as Record<string, string | undefined>
    return `  ${[level, msg, reason, remedy].filter(part => part !== undefined).join(': ')}`
  } catch {
    return `  ${line}`
  }
}

/**
 * Waits until the replicas serve all `partitions` between them, each at least one.
 * @returns the partitions of each replica, in the order of `replicas`
 * @throws with what the replicas say about themselves when the time is up
 */
export async function untilServing(
  replicas: readonly Replica[],
  partitions: number,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<number[][]> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const statuses = await Promise.all(replicas.map(replica => replica.status()))
    const serving = statuses.map(status => runningPartitions(status))
    if (serving.every(own => own.length > 0) && serving.flat().length === partitions) return serving
    if (performance.now() > deadline) throw new Error(notServing(replicas, statuses, timeoutMs))
    await delay(ASK_EVERY_MS, undefined, { signal })
  }
}

function runningPartitions(status: StatusBody | undefined): number[] {
  const running = status?.partitions.filter(({ state }) => state === 'RUNNING') ?? []
  return running.map(({ partition }) => partition)
}

function notServing(replicas: readonly Replica[], statuses: readonly (StatusBody | undefined)[], ms: number): string {
  const lines = replicas.map((replica, i) => {
    const says = statuses[i] === undefined ? 'does not answer' : JSON.stringify(statuses[i].health)
    return `Replica ${replica.name}: ${says}\n${replica.lastWords()}`
  })
  return `The replicas did not share the partitions within ${ms / 1000} s.\n${lines.join('\n')}`
}
