/** Places on the board; those of the clients follow. */
const IDLE = 0
const ANNOUNCED = 1
const HUNG = 2
const FIRST_WAITS = 3

/**
 * What every client of a pool sees of it without asking: a few integers in memory that all threads share. They are for the
 * question that a batcher asks before each batch, whether a session is free, and must ask without a message.
 *
 *   idle = sessions that the server saw idle − runs that were announced and have not reached it
 *
 * **No two clients run for one session.** A client announces its run before it sends the message, so that the others see
 * the session taken at once, not when the message has arrived. The server takes the announcement back before it hands the run
 * over: for that moment the others may see one idle session too many, and the worst that comes of it is a run that
 * waits in the pool, first come first served. The other order would show them one too few, and see below.
 *
 * **No client waits in vain.** Who finds no session idle says so (`waits`) and looks once more; the server, having
 * published a number, asks who waits. Atomics are sequentially consistent, so of these four steps either the second look
 * comes after the publication, and sees it, or the word that the client waits comes before the question. Only the server
 * makes the number grow, and it asks every time.
 */
export class PoolBoard {
  /** To be passed to the clients. */
  readonly memory: SharedArrayBuffer
  readonly #cells: Int32Array<SharedArrayBuffer>

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory
    this.#cells = new Int32Array(memory)
  }

  static of(clients: number): PoolBoard {
    return new PoolBoard(new SharedArrayBuffer((FIRST_WAITS + clients) * Int32Array.BYTES_PER_ELEMENT))
  }

  /** Threads that hang, as published last. */
  get hung(): number {
    return Atomics.load(this.#cells, HUNG)
  }

  /** Sessions that could take a run now. */
  get idle(): number {
    const announced = Atomics.load(this.#cells, ANNOUNCED)
    return Math.max(0, Atomics.load(this.#cells, IDLE) - announced)
  }

  // The client's side. `client` is its place, from 0.

  /** As `idle`, and if that is 0 the server tells this client when it no longer is. */
  idleOrWait(client: number): number {
    const idle = this.idle
    if (idle > 0) return idle
    Atomics.store(this.#cells, FIRST_WAITS + client, 1)
    return this.idle
  }

  /** A run is about to be sent. */
  announce(): void {
    Atomics.add(this.#cells, ANNOUNCED, 1)
  }

  // The server's side.

  /** A run that was announced has arrived. */
  arrived(): void {
    Atomics.sub(this.#cells, ANNOUNCED, 1)
  }

  /** Whether any of the first `clients` waits. */
  anyWaits(clients: number): boolean {
    for (let client = 0; client < clients; client++) {
      if (Atomics.load(this.#cells, FIRST_WAITS + client) === 1) return true
    }
    return false
  }

  publish(idle: number, hung: number): void {
    Atomics.store(this.#cells, HUNG, hung)
    Atomics.store(this.#cells, IDLE, idle)
  }

  /** Whether the client waits; from then on it no longer does. */
  takeWait(client: number): boolean {
    return Atomics.exchange(this.#cells, FIRST_WAITS + client, 0) === 1
  }
}
