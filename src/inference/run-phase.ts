/**
 * Where a session thread is, as one integer in memory that it shares with the pool. Each thread has one of its own, so
 * that a thread which was given up never touches the phase of its successor.
 *
 *              pool: run handed over             thread: outputs computed
 *   OUTSIDE ─────────────────────────▶ RUNNING ──────────────────────────▶ STORING
 *      ▲                                │ ▲ ▲                                 │
 *      │      pool: it took too long    │ │ └── thread: chunk stored, next ───┤
 *      │        ABANDONED ◀─────────────┘ └── from birth, while opening       │
 *      └───── thread: about to answer ──────────────────────────────────◀─────┘
 *
 * **Who may write outputs.** A run that takes too long is given up: its rows run again, on another thread but in the
 * same slot, and the slot later goes to another batch. Should the thread that was given up wake then and store its
 * outputs, it would overwrite those of others: wrong predictions, and nobody would know. So both moves out of RUNNING
 * are a compare-and-exchange of the same integer, of which exactly one succeeds:
 *
 * - The thread wins (RUNNING → STORING): the pool's exchange fails, so the run is not given up. The slot stays with its
 *   batch, and the answer is only a copy of some memory away.
 * - The pool wins (RUNNING → ABANDONED): the run is rejected, and the slot may be used again from that moment. When the
 *   thread wakes, its exchange fails: it writes nothing, answers nothing, and ends.
 *
 * A graph with a fixed batch runs in chunks and goes through this once for each. Chunks that were stored before are no
 * matter: they are outputs of the same rows, written while the slot was still theirs.
 *
 * **Who may read inputs.** The thread that was given up may still read the slot's inputs. What it makes of them is
 * thrown away; but kernels check an index first and use it later, and one that changed in between could lead them out of
 * their memory. So a slot with such a reader is not packed again before the reader has ended: see `TensorSlots`.
 *
 * **Who may end the process.** A thread that is torn down inside the runtime takes the process with it, see
 * `Thread.dismiss`; everything but OUTSIDE counts as inside, and so does opening the model, which may be given up as well.
 */
export const Phase = { outside: 0, running: 1, storing: 2, abandoned: 3 } as const

/** One integer, see {@link Phase}. */
export type RunPhase = Int32Array<SharedArrayBuffer>

/** The phase of a thread that is about to be born: inside until it says otherwise. */
export function newPhase(): RunPhase {
  const phase = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  phase[0] = Phase.running
  return phase
}

/** The pool hands a run to a thread that is outside. */
export function enter(phase: RunPhase): void {
  Atomics.store(phase, 0, Phase.running)
}

/** The thread asks whether it may write outputs; if not, its run was given up, and it must not touch the slot. */
export function beginStoring(phase: RunPhase): boolean {
  return Atomics.compareExchange(phase, 0, Phase.running, Phase.storing) === Phase.running
}

/** The thread has written the outputs of a chunk. */
export function endStoring(phase: RunPhase): void {
  Atomics.store(phase, 0, Phase.running)
}

/** The pool gives up the run; false when the thread was first, and its answer is on the way. */
export function abandon(phase: RunPhase): boolean {
  return Atomics.compareExchange(phase, 0, Phase.running, Phase.abandoned) === Phase.running
}

/** The thread is out of the runtime, or gone. */
export function leave(phase: RunPhase): void {
  Atomics.store(phase, 0, Phase.outside)
  Atomics.notify(phase, 0)
}

/** Blocks until the thread is outside, at most `timeoutMs`; returns whether it is. */
export function awaitOutside(phase: RunPhase, timeoutMs: number): boolean {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const now = Atomics.load(phase, 0)
    if (now === Phase.outside) return true
    const left = deadline - performance.now()
    // The way from one inside to another wakes nobody, but it makes the next wait begin anew.
    if (left <= 0 || Atomics.wait(phase, 0, now, left) === 'timed-out') return Atomics.load(phase, 0) === Phase.outside
  }
}
