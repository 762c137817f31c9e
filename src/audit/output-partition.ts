import type { OutputDigest } from './verdict.ts'

/** Outputs of a lane whose places are remembered. */
const REMEMBERED = 8

/** What one output partition holds of one input partition: its order, and where the last few outputs lie. */
export class Lane {
  #last = -1
  /** Pairs of input offset and output offset. */
  readonly #recent = new Float64Array(2 * REMEMBERED).fill(-1)
  #next = 0

  /** The highest input offset so far, or -1. */
  get last(): number {
    return this.#last
  }

  /** Notes the output at `outputOffset`; returns false where it breaks the order of the input. */
  add(inputOffset: number, outputOffset: number): boolean {
    this.#recent[this.#next] = inputOffset
    this.#recent[this.#next + 1] = outputOffset
    this.#next = (this.#next + 2) % this.#recent.length
    if (inputOffset < this.#last) return false
    this.#last = inputOffset
    return true
  }

  /** The offset of the output for `inputOffset`, if it was among the last few. */
  find(inputOffset: number): number | undefined {
    for (let at = 0; at < this.#recent.length; at += 2) {
      if (this.#recent[at] === inputOffset) return this.#recent[at + 1]
    }
    return undefined
  }
}

const TWO_TO_32 = 2 ** 32
const NO_SOURCE = -1
/** Two seeds for two independent halves of the hash. */
const SEEDS = [0x9e3779b9, 0x7f4a7c15] as const

/** An output partition as it is read: a count and a digest that do not depend on the order of reading, and its lanes. */
export class OutputPartition {
  readonly topic: string
  readonly partition: number
  /** By input partition. */
  readonly lanes = new Map<number, Lane>()
  #records = 0
  #end = 0
  #high = 0
  #low = 0

  constructor(topic: string, partition: number) {
    this.topic = topic
    this.partition = partition
  }

  lane(inputPartition: number): Lane {
    let lane = this.lanes.get(inputPartition)
    if (lane === undefined) {
      lane = new Lane()
      this.lanes.set(inputPartition, lane)
    }
    return lane
  }

  /** Counts a record, whose source may be -1, -1 for none. */
  count(offset: number, inputPartition = NO_SOURCE, inputOffset = NO_SOURCE): void {
    this.#records++
    if (offset >= this.#end) this.#end = offset + 1
    this.#high = (this.#high + hash(SEEDS[0], offset, inputPartition, inputOffset)) >>> 0
    this.#low = (this.#low + hash(SEEDS[1], offset, inputPartition, inputOffset)) >>> 0
  }

  get digest(): OutputDigest {
    const digest = [this.#high, this.#low].map(half => half.toString(16).padStart(8, '0')).join('')
    return { topic: this.topic, partition: this.partition, records: this.#records, end: this.#end, digest }
  }
}

function hash(seed: number, offset: number, inputPartition: number, inputOffset: number): number {
  let state = mix(seed ^ offset)
  state = mix(state ^ Math.floor(offset / TWO_TO_32))
  state = mix(state ^ inputPartition)
  state = mix(state ^ inputOffset)
  return mix(state ^ Math.floor(inputOffset / TWO_TO_32)) >>> 0
}

/** The finaliser of MurmurHash3: every bit of the input changes every bit of the result. */
function mix(word: number): number {
  let state = word ^ (word >>> 16)
  state = Math.imul(state, 0x85ebca6b)
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35)
  return state ^ (state >>> 16)
}
