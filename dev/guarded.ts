import { type ChildProcess, fork } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** What the parent says to its guardian. */
export type ToGuardian =
  | { type: 'start'; command: string; args: readonly string[]; logFile: string }
  | { type: 'signal'; signal: NodeJS.Signals }

/** What a guardian says to its parent: `exited` once per `start`, after `started` unless the command could not run. */
export type FromGuardian = { type: 'started'; pid: number } | { type: 'exited'; reason: string }

interface Events {
  started: [pid: number]
  exited: [reason: string]
}

/**
 * A server that cannot outlive this process, and a folder that goes with it. One run at a time, any number one after
 * another in the same folder. Keeps this process alive only while one of its promises is pending.
 */
export class GuardedServer extends EventEmitter<Events> {
  readonly #guardian: ChildProcess
  #pending = 0
  #pid: number | undefined

  /** Takes ownership of `folder`: it is removed by `close()`, or when this process ends in whatever way. */
  constructor(folder: string) {
    super()
    const guardian = fork(fileURLToPath(new URL('guardian.ts', import.meta.url)), [folder], {
      detached: true,
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#guardian = guardian
    guardian.on('message', (message: FromGuardian) => this.#hear(message))
    guardian.once('exit', code => {
      // It exits only after its server. If somebody killed it, the server is what is left of its process group.
      if (code !== 0) killGroup(guardian.pid!)
      this.#hear({ type: 'exited', reason: 'its guardian process is gone' })
    })
    this.#keepAlive(false)
  }

  /** The server's process id, undefined while it does not run. */
  get pid(): number | undefined {
    return this.#pid
  }

  /**
   * Starts the server, its output written to `logFile` (emptied first), and resolves to its process id.
   * Throws if it cannot be executed.
   */
  async start(command: string, args: readonly string[], logFile: string): Promise<number> {
    if (this.#pid !== undefined) throw new Error(`The server already runs, with process id ${this.#pid}.`)
    return this.#holding(async () => {
      const outcome = new Promise<number>((resolve, reject) => {
        const started = (pid: number) => settle(() => resolve(pid))
        const exited = (reason: string) => settle(() => reject(new Error(`${command} did not start: ${reason}`)))
        const settle = (act: () => void) => {
          this.off('started', started)
          this.off('exited', exited)
          act()
        }
        this.on('started', started)
        this.on('exited', exited)
      })
      this.#tell({ type: 'start', command, args, logFile })
      return outcome
    })
  }

  /**
   * Sends a signal and resolves when the server has exited; after `patienceMs` it is killed. The folder stays.
   * A paused server goes on, to hear it. Nothing happens if it does not run.
   */
  async signal(signal: NodeJS.Signals, patienceMs: number): Promise<void> {
    if (this.#pid === undefined) return
    await this.#holding(async () => {
      const exited = once(this, 'exited')
      this.#tell({ type: 'signal', signal })
      this.#tell({ type: 'signal', signal: 'SIGCONT' })
      const timer = setTimeout(() => this.#tell({ type: 'signal', signal: 'SIGKILL' }), patienceMs)
      await exited
      clearTimeout(timer)
    })
  }

  /**
   * Stops the server in its tracks (SIGSTOP): its connections stay open, and nobody answers on them.
   * Throws if it does not run.
   */
  pause(): void {
    this.#signalNow('SIGSTOP')
  }

  /** Lets a paused server go on where it was. Throws if it does not run; nothing happens if it was not paused. */
  resume(): void {
    this.#signalNow('SIGCONT')
  }

  /** Kills the server if it runs, removes the folder, and resolves when both are gone. May be called again. */
  async close(): Promise<void> {
    const guardian = this.#guardian
    if (guardian.exitCode !== null || guardian.signalCode !== null) return
    await this.#holding(async () => {
      const gone = once(guardian, 'exit')
      if (guardian.connected) guardian.disconnect()
      await gone
    })
  }

  #hear(message: FromGuardian): void {
    if (message.type === 'started') {
      this.#pid = message.pid
      this.emit('started', message.pid)
    } else {
      this.#pid = undefined
      this.emit('exited', message.reason)
    }
  }

  // Not by way of the guardian: when this returns, the server has the signal.
  #signalNow(signal: NodeJS.Signals): void {
    if (this.#pid === undefined) throw new Error(`The server does not run, so it cannot be sent ${signal}.`)
    process.kill(this.#pid, signal)
  }

  #tell(message: ToGuardian): void {
    if (this.#guardian.connected) this.#guardian.send(message)
  }

  async #holding<T>(work: () => Promise<T>): Promise<T> {
    if (this.#pending++ === 0) this.#keepAlive(true)
    try {
      return await work()
    } finally {
      if (--this.#pending === 0) this.#keepAlive(false)
    }
  }

  #keepAlive(alive: boolean): void {
    const handles = [this.#guardian, this.#guardian.channel]
    for (const handle of handles) alive ? handle?.ref() : handle?.unref()
  }
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
