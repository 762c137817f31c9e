import { headerTexts } from '../src/audit/header-walker.ts'
import { keyBytes, type RecordBatch } from '../src/core/record-batch.ts'
import type { TimelineEntry } from '../src/core/timeline.ts'
import { answeredBy, canaryHash } from '../test/support/timeline.ts'

const NAMES = ['source', 'model-version', 'model-arm'].map(name => Buffer.from(name))
const MOST_EXAMPLES = 5

/** What every prediction of one input partition says of itself, in three columns. */
interface Said {
  readonly offsets: number[]
  /** Of the key, or of the place of a record without one. */
  readonly hashes: number[]
  /** Places in `labels`. */
  readonly labels: number[]
}

/** Remembers which version and which arm answered each record, and compares that with the timeline. */
export class RolloutWitness {
  readonly #partitions = new Map<number, Said>()
  /** `version arm` */
  readonly #labels: string[] = []

  prediction(batch: RecordBatch): void {
    for (let index = 0; index < batch.count; index++) {
      const [source, version, arm] = headerTexts(batch, index, NAMES) as [string, string, string]
      const [, partition, offset] = source.split('/').map(Number) as [number, number, number]
      const said = this.#of(partition)
      said.offsets.push(offset)
      said.hashes.push(canaryHash(keyBytes(batch, index), partition, offset))
      said.labels.push(this.#label(`${version} ${arm || 'stable'}`))
    }
  }

  /** How many predictions were seen. */
  get seen(): number {
    return [...this.#partitions.values()].reduce((sum, { offsets }) => sum + offsets.length, 0)
  }

  /**
   * What of the predictions is not as `timeline`, the entries of the group in their order, says: the count, and examples.
   */
  disagreements(timeline: readonly TimelineEntry[]): { count: number; examples: string[] } {
    let count = 0
    const examples: string[] = []
    for (const [partition, { offsets, hashes, labels }] of this.#partitions) {
      const entries = timeline.filter(entry => entry.partition === partition) // once, for a million records
      for (const [i, offset] of offsets.entries()) {
        const expected = answeredBy(entries, partition, offset, hashes[i]!)
        const got = this.#labels[labels[i]!]!
        if (got === expected) continue
        count++
        if (examples.length < MOST_EXAMPLES)
          examples.push(`${partition}/${offset} was answered by ${got}, the timeline says ${expected}`)
      }
    }
    return { count, examples }
  }

  #of(partition: number): Said {
    let said = this.#partitions.get(partition)
    if (said === undefined) {
      said = { offsets: [], hashes: [], labels: [] }
      this.#partitions.set(partition, said)
    }
    return said
  }

  #label(label: string): number {
    const at = this.#labels.indexOf(label)
    return at >= 0 ? at : this.#labels.push(label) - 1
  }
}
