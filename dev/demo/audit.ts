/** A record that was published, and how it must be answered. */
export interface Sent<Id> {
  readonly id: Id
  /** `prediction`, or the error code of its dead letter. */
  readonly outcome: string
  readonly key: string
  /** Milliseconds since the epoch, as the producer set it. */
  readonly timestamp: number
}

/** A prediction or a dead letter, as a reader saw it. */
export interface Answer<Id> {
  /** The record that it answers; undefined when it does not say. */
  readonly id: Id | undefined
  readonly outcome: string
  readonly key: string
  readonly timestamp: number
  /** Where the answer lies. */
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Where the record lies. */
  readonly source: { readonly partition: number; readonly offset: number }
}

/** What became of the records. All counts are 0 but the first three when every record was answered exactly once. */
export interface Audit {
  readonly recordsIn: number
  readonly predictions: number
  /** Dead letters by error code, in the order of the codes' names. */
  readonly deadLetters: Readonly<Record<string, number>>
  /** Records without an answer. */
  readonly lost: number
  /** Answers beyond a record's first. */
  readonly doubled: number
  /** First answers that lie behind the answer of a later record of the same input partition. */
  readonly misordered: number
  /** First answers with another outcome, key, timestamp or partition than they must have. */
  readonly wrong: number
  /** Answers to nothing that was sent. */
  readonly unexpected: number
  /** For each kind of trouble the first few cases, one line each. */
  readonly examples: readonly string[]
  readonly passed: boolean
}

type Trouble = 'lost' | 'doubled' | 'misordered' | 'wrong' | 'unexpected'

const EXAMPLES_EACH = 3

/**
 * Compares what was sent with what was answered. Ids of `sent` are distinct. `answers` are in the order of their offsets
 * within each output partition; partitions may be mixed.
 */
export function audit<Id extends string | number>(sent: Iterable<Sent<Id>>, answers: Iterable<Answer<Id>>): Audit {
  const open = new Map<Id, Sent<Id>>()
  for (const record of sent) open.set(record.id, record)
  const recordsIn = open.size
  const findings = new Findings()
  const answered = new Set<Id>()
  const order = new Map<string, number>()
  for (const answer of answers) {
    findings.count(answer)
    const { id } = answer
    const record = id === undefined ? undefined : open.get(id)
    if (id !== undefined && answered.has(id)) findings.add('doubled', `record ${id} again ${place(answer)}`)
    else if (record === undefined) findings.add('unexpected', `an answer to record ${id ?? '?'} ${place(answer)}`)
    else {
      answered.add(record.id)
      open.delete(record.id)
      checkAnswer(record, answer, findings)
      checkOrder(answer, order, findings)
    }
  }
  for (const { id, key, outcome } of open.values()) {
    findings.add('lost', `record ${id} with key ${key}; expected ${named(outcome)}`)
  }
  return findings.toAudit(recordsIn)
}

function checkAnswer<Id>(record: Sent<Id>, answer: Answer<Id>, findings: Findings): void {
  const differences = [
    answer.outcome !== record.outcome && `is ${named(answer.outcome)}; expected ${named(record.outcome)}`,
    answer.key !== record.key && `has the key ${answer.key}; expected ${record.key}`,
    answer.timestamp !== record.timestamp && `has the timestamp ${answer.timestamp}; expected ${record.timestamp}`,
    answer.partition !== answer.source.partition && `should be in partition ${answer.source.partition}`,
  ].filter(difference => difference !== false)
  if (differences.length > 0) {
    findings.add('wrong', `record ${record.id} ${place(answer)} ${differences.join(', ')}`)
  }
}

/** Offsets of one input partition must rise along every partition of output. */
function checkOrder<Id>(answer: Answer<Id>, last: Map<string, number>, findings: Findings): void {
  const { topic, partition, source } = answer
  const stream = `${topic}/${partition} of ${source.partition}`
  const before = last.get(stream) ?? -1
  if (source.offset > before) last.set(stream, source.offset)
  else findings.add('misordered', `offset ${source.offset} ${place(answer)} comes after offset ${before}`)
}

/** Counts, with a few examples of each kind. */
class Findings {
  readonly #outcomes = new Map<string, number>()
  readonly #counts: Record<Trouble, number> = { lost: 0, doubled: 0, misordered: 0, wrong: 0, unexpected: 0 }
  readonly #examples: string[] = []

  count({ outcome }: { readonly outcome: string }): void {
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1)
  }

  add(trouble: Trouble, example: string): void {
    if (this.#counts[trouble]++ < EXAMPLES_EACH) this.#examples.push(`${trouble}: ${example}`)
  }

  toAudit(recordsIn: number): Audit {
    const deadLetters = [...this.#outcomes].filter(([outcome]) => outcome !== 'prediction').sort()
    return {
      recordsIn,
      predictions: this.#outcomes.get('prediction') ?? 0,
      deadLetters: Object.fromEntries(deadLetters),
      ...this.#counts,
      examples: this.#examples,
      passed: Object.values(this.#counts).every(count => count === 0),
    }
  }
}

function place<Id>({ topic, partition, offset }: Answer<Id>): string {
  return `at ${topic}/${partition}/${offset}`
}

function named(outcome: string): string {
  return outcome === 'prediction' ? 'a prediction' : `a dead letter (${outcome})`
}
