/** What can be wrong. */
export type FaultKind = 'lost' | 'doubled' | 'misordered' | 'torn' | 'foreign'

/** In the order in which people want to hear of them, each with its meaning in one line. */
export const FAULT_KINDS: Readonly<Record<FaultKind, string>> = {
  lost: 'the group is past the input record, and no output names it',
  doubled: 'more than one output names the same input record',
  misordered: 'an output lies behind the output of a later record of its input partition',
  torn: 'an output is visible, but the group’s offset has not moved past its input record',
  foreign: 'an output names no input record that exists, or none at all',
}

/** Why a prediction was not compared with what its model predicts. */
export type UncheckedReason = 'version' | 'memory' | 'input' | 'undecodable'

/** Each with its meaning in one line. */
export const UNCHECKED_REASONS: Readonly<Record<UncheckedReason, string>> = {
  version: 'the model version that the headers name cannot be opened here',
  memory: 'input and output lay further apart than there is memory for',
  input: 'no input record is there to predict from, or a prediction before has used it up',
  undecodable: 'the value, or the schema of the input, cannot be decoded with these settings',
}

/** A place in a topic. */
export interface Place {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** One case of a fault. */
export interface Example {
  /** The input record; undefined where the output names none. */
  readonly input: Place | undefined
  /** The output that showed it; undefined for what is lost, and where the place was not kept. */
  readonly seen: Place | undefined
  /** What else there is to say, or empty. */
  readonly detail: string
}

export interface Finding {
  readonly count: number
  /** The first cases; as many as were asked for. */
  readonly examples: readonly Example[]
}

/** What was read of an output partition: the same for every reader that saw the same records, in whatever order. */
export interface OutputDigest {
  readonly topic: string
  readonly partition: number
  readonly records: number
  /** Offset after the last record. */
  readonly end: number
  /** 16 hex digits: a sum of hashes over the offset and the source of every record. */
  readonly digest: string
}

/** What became of the input. */
export interface Verdict {
  /** No fault, and no transaction left open. */
  readonly clean: boolean
  /** Input records within the range. */
  readonly inputs: number
  /** Outputs for records within the range. */
  readonly predictions: number
  readonly deadLetters: number
  /** Outputs for records outside the range: not judged. */
  readonly outside: number
  /** Input records that the group has not come to yet: no fault. */
  readonly pending: number
  readonly faults: Readonly<Record<FaultKind, Finding>>
  /** Transactional ids of the group that somebody has left open. */
  readonly openTransactions: readonly string[]
  readonly outputs: readonly OutputDigest[]
}

/** What an early reader saw of an output partition and a late one does not find as it was. */
export interface Vanished {
  readonly topic: string
  readonly partition: number
  readonly early: OutputDigest
  /** Undefined where the late reader found nothing at all. */
  readonly late: OutputDigest | undefined
}

/**
 * Compares two readings of the same output topics, the early one made while the group worked. What read_committed has
 * shown may never go or change; so where both ended at the same offset, all must be equal, and the late one may end later
 * only with more records.
 */
export function vanished(early: Verdict, late: Verdict): Vanished[] {
  const key = ({ topic, partition }: OutputDigest) => `${topic}/${partition}`
  const found = new Map(late.outputs.map(output => [key(output), output]))
  const gone: Vanished[] = []
  for (const before of early.outputs) {
    const after = found.get(key(before))
    if (after !== undefined && stillThere(before, after)) continue
    gone.push({ topic: before.topic, partition: before.partition, early: before, late: after })
  }
  return gone
}

function stillThere(before: OutputDigest, after: OutputDigest): boolean {
  if (after.end > before.end) return after.records > before.records
  return after.end === before.end && after.records === before.records && after.digest === before.digest
}

/** `topic/partition/offset`. */
export function placeText({ topic, partition, offset }: Place): string {
  return `${topic}/${partition}/${offset}`
}
