import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { until } from './broker.ts'
import { parseMetrics, type Sample } from './metrics.ts'

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))
const TETHER = new URL('../../dev/tether.ts', import.meta.url).href

/** A line of the JSON log. */
export type LogLine = { readonly level: string; readonly msg: string } & Readonly<Record<string, unknown>>

interface ProcessOptions {
  /** Settings; nothing else of the tests' own environment reaches the process. */
  readonly env?: Readonly<Record<string, string>>
  /** Working directory: where it looks for `.env`. */
  readonly cwd?: string | undefined
  /** Modules loaded before it, in every thread. */
  readonly imports?: readonly string[]
}

interface WorkerOptions extends ProcessOptions {
  readonly args?: readonly string[]
}

const START_MS = 30_000
const STOP_MS = 30_000

/** Variables that a process needs in order to run, none of them a setting. */
const PLAIN_ENVIRONMENT = Object.fromEntries(
  ['PATH', 'HOME', 'TMPDIR'].flatMap(name => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
)

/** Runs the command line in a process that ends with this one, however this one ends. */
export function spawnSluice(args: readonly string[], { env = {}, cwd, imports = [] }: ProcessOptions): ChildProcess {
  const preloaded = [TETHER, ...imports].flatMap(module => ['--import', module])
  return spawn(process.execPath, [...preloaded, CLI, ...args], {
    env: { ...PLAIN_ENVIRONMENT, ...env },
    cwd,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
}

/** Starts `sluice worker` with a JSON log and a free HTTP port. */
export function startWorker({ env = {}, args = [], ...options }: WorkerOptions): WorkerProcess {
  const settings = { LOG_FORMAT: 'json', HTTP_PORT: '0', ...env }
  return new WorkerProcess(spawnSluice(['worker', ...args], { ...options, env: settings }))
}

/** Starts `sluice serve`, likewise. */
export function startServer({ env = {}, args = [], ...options }: WorkerOptions): WorkerProcess {
  const settings = { LOG_FORMAT: 'json', HTTP_PORT: '0', ...env }
  return new WorkerProcess(spawnSluice(['serve', ...args], { ...options, env: settings }))
}

/** A worker in a process of its own, which ends with this one. */
export class WorkerProcess {
  /** Every line of its log so far. */
  readonly log: LogLine[] = []
  /** Resolves to its exit code, or to the name of the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>
  /** With a channel: modules that were loaded before the worker may listen to it. */
  readonly child: ChildProcess
  readonly #watchers = new Set<() => void>()
  #stderr = ''
  #over = false

  constructor(child: ChildProcess) {
    this.child = child
    createInterface(child.stdout!).on('line', line => this.#hear(line))
    child.stderr!.setEncoding('utf8').on('data', chunk => {
      this.#stderr += chunk
    })
    this.exited = once(child, 'close').then(([code, signal]) => {
      this.#over = true
      this.#notify()
      return code ?? signal
    })
  }

  get pid(): number {
    return this.child.pid!
  }

  /** Whether it has ended. */
  get over(): boolean {
    return this.#over
  }

  /** What it wrote to standard error: nothing, as long as it has a log. */
  get stderr(): string {
    return this.#stderr
  }

  /** The first line, past or to come, that `matches`. Throws with the end of the log when it ends or takes too long. */
  async waitForLog(matches: (line: LogLine) => boolean, timeoutMs = START_MS): Promise<LogLine> {
    let seen = 0
    let found: LogLine | undefined
    const search = () => {
      while (found === undefined && seen < this.log.length) {
        const line = this.log[seen++]!
        if (matches(line)) found = line
      }
      return found
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    const look = () => {
      if (search() !== undefined || this.#over) resolve()
    }
    const timer = setTimeout(resolve, timeoutMs)
    this.#watchers.add(look)
    look()
    await promise
    clearTimeout(timer)
    this.#watchers.delete(look)
    if (found === undefined) throw new Error(`The line that was waited for is not in the log.\n${this.describe()}`)
    return found
  }

  /** Waits until it answers that it is ready. */
  async ready(timeoutMs = START_MS): Promise<this> {
    const url = await this.url('/health/ready')
    const answers = async () => {
      if (this.#over) throw new Error(`The worker ended before it was ready.\n${this.describe()}`)
      return (await fetch(url).catch(() => undefined))?.status === 200
    }
    await until(answers, () => `the worker is not ready.\n${this.describe()}`, timeoutMs)
    return this
  }

  /** Address of a page of its HTTP server. */
  async url(path: string): Promise<string> {
    const { url } = await this.waitForLog(line => line.url !== undefined)
    return `${url}${path}`
  }

  async metrics(): Promise<Sample[]> {
    const response = await fetch(await this.url('/metrics'))
    return parseMetrics(await response.text())
  }

  /** The sum of a metric over all series that have these labels. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const wanted = Object.entries(labels)
    return (await this.metrics())
      .filter(sample => sample.name === name && wanted.every(([label, value]) => sample.labels[label] === value))
      .reduce((sum, { value }) => sum + value, 0)
  }

  /** Waits until it has predicted something. */
  async predicts(timeoutMs = START_MS): Promise<void> {
    const predicted = async () => (await this.metric('sluice_predictions_total')) > 0
    await until(predicted, () => `the worker has predicted nothing.\n${this.describe()}`, timeoutMs)
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name)
  }

  /** SIGTERM; resolves to the exit code. Kills it and throws when it takes too long. */
  async stop(timeoutMs = STOP_MS): Promise<number | NodeJS.Signals> {
    this.signal('SIGTERM')
    let late = false
    const timer = setTimeout(() => {
      late = true
      this.signal('SIGKILL')
    }, timeoutMs)
    const end = await this.exited
    clearTimeout(timer)
    if (late) throw new Error(`The worker did not stop within ${timeoutMs / 1000} s.\n${this.describe()}`)
    return end
  }

  /** SIGKILL; resolves when it is gone. Harmless when it is gone already. */
  async kill(): Promise<void> {
    this.signal('SIGKILL')
    await this.exited
  }

  /** The end of its log, for messages. */
  describe(): string {
    const lines = this.log.slice(-15).map(line => JSON.stringify(line).slice(0, 600))
    return [`Worker ${this.pid}${this.#over ? ', ended' : ''}:`, ...lines, this.#stderr].join('\n')
  }

  #hear(line: string): void {
    if (line.startsWith('{')) this.log.push(JSON.parse(line) as LogLine)
    else this.#stderr += `${line}\n`
    this.#notify()
  }

  #notify(): void {
    for (const watcher of this.#watchers) watcher()
  }
}

/** What a command that ends by itself left behind. */
export interface Finished {
  readonly code: number | NodeJS.Signals
  readonly stdout: string
  readonly stderr: string
}

/** A command that ends by itself, or is ended. */
export interface RunningSluice {
  /** Never rejects. */
  readonly finished: Promise<Finished>
  kill(signal: NodeJS.Signals): void
}

/** Starts `sluice` with `args`; kills it when it takes too long. */
export function startSluice(args: readonly string[], options: ProcessOptions = {}): RunningSluice {
  const child = spawnSluice(args, options)
  const timer = setTimeout(() => child.kill('SIGKILL'), START_MS)
  const outputs = Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'close')])
  const finished = outputs.then(([stdout, stderr, [code, signal]]) => {
    clearTimeout(timer)
    return { code: code ?? signal, stdout, stderr } as Finished
  })
  return { finished, kill: signal => child.kill(signal) }
}

/** Runs `sluice` with `args` to its end; kills it when that takes too long. */
export function runSluice(args: readonly string[], options: ProcessOptions = {}): Promise<Finished> {
  return startSluice(args, options).finished
}
