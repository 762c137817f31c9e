import avro from 'avsc'
import type { ErrorCode } from '../../src/core/errors.ts'
import { Random } from './random.ts'

/** One record to publish, and how it must be answered. */
export interface DemoRecord {
  /** Its place in the demo, counted from 0; travels as the header `record`. */
  readonly id: number
  /** The flower that was measured; records of one flower keep their order. */
  readonly key: string
  readonly value: Buffer | null
  /** A prediction, or the error code of its dead letter. */
  readonly outcome: 'prediction' | ErrorCode
}

/** Under which the demo's schema folder lists the schema of the features. */
export const FEATURES_SCHEMA_ID = 1

/** Share of the records that are broken on purpose. */
const POISON_SHARE = 0.005

/** Standard deviation of the noise on each measurement, in centimetres. */
const NOISE_CM = 0.05

const FRAME_BYTES = 5

type Spoil = (frame: Buffer) => Buffer | null

/** What producers get wrong in real life, with the error code that says so. */
const POISONS: readonly (readonly [ErrorCode, Spoil])[] = [
  ['null-value', () => null],
  ['wrong-magic-byte', () => Buffer.from('{"sepal_length": 5.1, "sepal_width": 3.5}')],
  ['unknown-schema-id', frame => patched(frame, copy => copy.writeInt32BE(999, 1))],
  ['truncated-message', frame => frame.subarray(0, frame.length - 3)],
  ['trailing-bytes', frame => Buffer.concat([frame, Buffer.from('!')])],
  ['feature-not-finite', frame => patched(frame, copy => copy.writeFloatLE(Number.NaN, FRAME_BYTES + 8))],
]

/** Measurements of real flowers with a little noise, row after row of the data set, for ever; the seed repeats them. */
export class Flowers {
  readonly #rows: readonly (readonly number[])[]
  readonly #features: readonly string[]
  readonly #type: avro.Type
  readonly #random: Random
  #next = 0

  /**
   * `csv` has a line of names first and the species last; `schema` is the Avro schema of a record of float features that
   * are named as in `csv`.
   */
  constructor(csv: string, schema: string, seed: number) {
    const [names, ...lines] = csv.trim().split('\n')
    this.#features = names!.split(',').slice(0, -1)
    this.#rows = lines.map(line => line.split(',').slice(0, -1).map(Number))
    this.#type = avro.Type.forSchema(JSON.parse(schema))
    this.#random = new Random(seed)
  }

  /** The next good record. */
  next(): DemoRecord {
    const id = this.#next++
    const row = id % this.#rows.length
    // A flower's measure is positive, however the noise falls.
    const noisy = this.#rows[row]!.map(cm => Math.max(0.1, cm + NOISE_CM * this.#random.gaussian()))
    const features = Object.fromEntries(this.#features.map((name, i) => [name, noisy[i]]))
    const key = `flower-${String(row + 1).padStart(3, '0')}`
    return { id, key, value: this.#frame(features), outcome: 'prediction' }
  }

  /** The next `count` records, 0.5 % of them poisoned: at least one of each kind, in places that the seed chooses. */
  take(count: number): DemoRecord[] {
    const records = Array.from({ length: count }, () => this.next())
    const poisoned = new Set<number>()
    const wanted = Math.min(count, Math.max(POISONS.length, Math.round(count * POISON_SHARE)))
    while (poisoned.size < wanted) poisoned.add(this.#random.below(count))
    let kind = 0
    for (const at of poisoned) {
      const [outcome, spoil] = POISONS[kind++ % POISONS.length]!
      const record = records[at]!
      records[at] = { ...record, value: spoil(record.value!), outcome }
    }
    return records
  }

  /** Avro behind 0x00 and the schema's id: Confluent's framing. */
  #frame(features: Record<string, unknown>): Buffer {
    const head = Buffer.alloc(FRAME_BYTES)
    head.writeInt32BE(FEATURES_SCHEMA_ID, 1)
    return Buffer.concat([head, this.#type.toBuffer(features)])
  }
}

function patched(bytes: Buffer, patch: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(bytes)
  patch(copy)
  return copy
}
