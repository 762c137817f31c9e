/** One place of a file to change; `find` has to match exactly once, so that a mutant cannot quietly stop being one. */
export interface Edit {
  /** From the root of the checkout. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

/** A way to break the protocol on purpose. */
export interface Mutant {
  readonly name: string
  /** What goes wrong with it. */
  readonly harm: string
  readonly edits: readonly Edit[]
}

const COMMITTER = 'src/kafka/transactional-committer.ts'
const PRODUCER = 'src/kafka/transactional-producer.ts'
const FETCHER = 'src/kafka/fetcher.ts'
const START = 'src/kafka/start-policy.ts'
const TASK = 'src/pipeline/partition-task.ts'
const RUN = 'src/pipeline/task-run.ts'

/** Keeps the identity of before instead of asking for a new one. */
const initialiseOnce: Edit = {
  file: PRODUCER,
  find: `    this.#identity = undefined
    let takeover`,
  replace: `    if (this.#identity !== undefined) return
    let takeover`,
}

const wasCommitted = 'wasCommitted(takeover.last, takeover.identity)'

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'offset-read-before-initialisation',
    harm: 'A former owner commits between the two, and its records are predicted again.',
    edits: [
      {
        file: COMMITTER,
        find: '    await this.#initialiseProducer()\n    const {',
        replace: '    const early = await start.position()\n    await this.#initialiseProducer()\n    const {',
      },
      { file: COMMITTER, find: '} = await start.position()', replace: '} = early' },
    ],
  },
  {
    name: 'offset-outside-the-transaction',
    harm: 'The offset moves though the transaction is aborted, or the other way round.',
    edits: [
      {
        file: PRODUCER,
        find: 'broker.txnOffsetCommit(request)',
        replace: 'broker.offsetCommit({ ...request, ...move.member })',
      },
      {
        file: COMMITTER,
        find: 'await producer.commit(batches, { topic, partition, offset,',
        replace: `const { memberId, generationId } = start.ownership()
    const member = { memberId, groupGenerationId: generationId }
    await producer.commit(batches, { topic, partition, offset, member,`,
      },
    ],
  },
  {
    name: 'end-of-transaction-retried-after-silence',
    harm: 'The first EndTxn arrives late and ends the next transaction halfway.',
    edits: [
      {
        file: PRODUCER,
        find: 'await coordinator.send(requestTimeoutMs, broker => broker.endTxn(request))',
        replace: `const end = () => coordinator.send(requestTimeoutMs, broker => broker.endTxn(request))
    await end().catch(end)`,
      },
    ],
  },
  {
    name: 'any-request-retried-after-silence',
    harm: 'As above, for every request to a coordinator.',
    edits: [
      {
        file: 'src/kafka/coordinator.ts',
        find: 'if (!isRefused(type) || this.#clock.now() >= deadline)',
        replace:
          'if (!(isRefused(type) || isConnectionTrouble(error)) || this.#clock.now() >= deadline + 5 * budgetMs)',
      },
    ],
  },
  {
    name: 'producer-kept-across-assignments',
    harm: 'The new task neither fences the owner in between nor ends what was open.',
    edits: [
      initialiseOnce,
      {
        file: 'src/replica/committing.ts',
        find: 'const producer = new TransactionalProducer({ ...shared, cluster, transactionalId, transactionTimeoutMs, coordinator })',
        replace: `links.kept ??= new Map()
  if (!links.kept.has(partition)) {
    links.kept.set(partition, new TransactionalProducer({ ...shared, cluster, transactionalId, transactionTimeoutMs, coordinator }))
  }
  const producer = links.kept.get(partition)`,
      },
    ],
  },
  {
    name: 'dead-letters-a-transaction-late',
    harm: 'The offset moves past bad records before they are dead letters.',
    edits: [
      {
        file: 'src/pipeline/output-stage.ts',
        find: '      stage.output.deadLetter(',
        replace: '      ;((...letter) => late.push(() => stage.output.deadLetter(...letter)))(',
      },
      {
        file: 'src/pipeline/output-stage.ts',
        find: '  const counts: PartCounts = { predictions: 0, deadLetters: [] }',
        replace: `  const counts: PartCounts = { predictions: 0, deadLetters: [] }
  for (const write of late.splice(0)) write()`,
      },
      {
        file: 'src/pipeline/output-stage.ts',
        find: 'let scratch = ',
        replace: 'const late = []\nlet scratch = ',
      },
    ],
  },
  {
    name: 'resumed-from-memory',
    harm: 'What the failed transaction carried is skipped.',
    edits: [
      {
        file: TASK,
        find: 'this.#run = this.#runFrom(start.offset)',
        replace: 'this.#run = this.#runFrom(Math.max(start.offset, this.#run.commits.settledOffset))',
      },
    ],
  },
  {
    name: 'fence-ignored',
    harm: 'The task takes its records for committed, and goes on with an epoch that is over.',
    edits: [
      {
        file: PRODUCER,
        find: `    } catch (error) {
      throw translate(
        error,
        \`committing offset`,
        replace: `    } catch (error) {
      const known = translate(error, '', 'transaction-unknown')
      if (known.name === 'FencedError') {
        this.#identity = identity
        return
      }
      throw translate(
        error,
        \`committing offset`,
      },
    ],
  },
  {
    name: 'not-initialised-after-an-unknown-outcome',
    harm: 'What the failed transaction had sent already is committed with the next one.',
    edits: [
      initialiseOnce,
      {
        file: PRODUCER,
        find: `    this.#identity = undefined
    try {
      await this.#add`,
        replace: `    try {
      await this.#add`,
      },
    ],
  },
  {
    name: 'stale-fetch-accepted',
    harm: 'Records fetched before a start over are taken for those at the new position.',
    edits: [{ file: FETCHER, find: 'if (!this.#plan.isCurrent(asked)) return true', replace: '' }],
  },
  {
    name: 'sequence-not-reset',
    harm: 'Brokers refuse every batch of the new epoch.',
    edits: [{ file: PRODUCER, find: 'this.#sender.reset()', replace: '' }],
  },
  {
    name: 'order-of-sessions',
    harm: 'Predictions leave in the order in which sessions finish.',
    edits: [
      {
        file: TASK,
        find: 'while (this.#mayEmit(run)) {\n      const part = run.parts.shift()!',
        replace: `while (run.parts.some(({ done }) => done)) {
      const [part] = run.parts.splice(run.parts.findIndex(({ done }) => done), 1) as [Part]`,
      },
      {
        file: TASK,
        find: 'if (!this.#mayEmit(run)) {\n      if (this.hurried)',
        replace: 'if (!run.parts.some(({ done }) => done)) {\n      if (this.hurried)',
      },
    ],
  },
  {
    name: 'timeline-of-the-moment',
    harm: 'The timeline names what is in effect when a record is written, not what has answered it.',
    edits: [
      {
        file: TASK,
        find: '#announce(run, part)\n',
        replace:
          '#announce(run, { ...part, queued: part.queued, from: part.from, serving: this.#options.serving() } as Part)\n',
      },
    ],
  },
  {
    name: 'timeline-from-memory',
    harm: 'After an abort the versions that were announced in the aborted transaction count as announced.',
    edits: [{ file: COMMITTER, find: '    this.output.resume(serving)\n', replace: '' }],
  },
  {
    name: 'canary-by-chance',
    harm: 'A key is answered by the canary now and by the stable version then.',
    edits: [
      {
        file: 'src/pipeline/serving.ts',
        find: 'length < 0 ?',
        replace: 'length > 0 ?',
      },
    ],
  },
  {
    name: 'shadow-before-its-record',
    harm: 'The prediction of a shadow is committed before its record is, and comes again when the record is done again.',
    edits: [
      {
        file: 'src/pipeline/shadow-lane.ts',
        find: ' && this.#parts[0].lastOffset < offset',
        replace: '',
      },
    ],
  },
  {
    name: 'committed-before-all-has-settled',
    harm: 'The offset covers records that are still in a session.',
    edits: [
      {
        file: TASK,
        find: 'run.commits.settle(part.endOffset, settled)',
        replace: 'run.commits.settle(run.position, settled)',
      },
    ],
  },
  {
    name: 'offset-of-the-last-record',
    harm: 'A restart repeats one record: what is committed is the next offset, not the last.',
    edits: [{ file: RUN, find: 'offsetOf(batch, this.to - 1) + 1\n', replace: 'offsetOf(batch, this.to - 1)\n' }],
  },
  {
    name: 'output-kept-at-a-start-over',
    harm: 'What was written before the failure is published again beside what is written anew.',
    edits: [{ file: COMMITTER, find: '    this.output.discard()\n    const pinned', replace: '    const pinned' }],
  },
  {
    name: 'aborted-records-delivered',
    harm: 'Records of an aborted transaction are predicted.',
    edits: [
      {
        file: 'src/kafka/record-batch-reader.ts',
        find: 'return !control && !skipped &&',
        replace: 'return !control &&',
      },
    ],
  },
  {
    name: 'first-offset-pinned-in-a-later-generation',
    harm: 'A former owner moves the offset of the new one back to the beginning.',
    edits: [
      {
        file: START,
        find: 'const request = { groupId, groupGenerationId, memberId, topics',
        replace: `const now = this.#options.generation() ?? { generationId: groupGenerationId, memberId }
    const request = { groupId, groupGenerationId: now.generationId, memberId: now.memberId, topics`,
      },
    ],
  },
  {
    name: 'last-transaction-not-ended-again',
    harm: 'What a crash left open is ended by the next marker of the producer id, beside what was done again.',
    edits: [{ file: PRODUCER, find: 'while (takeover.last !== undefined) {', replace: 'while (false) {' }],
  },
  {
    name: 'last-transaction-always-committed',
    harm: 'What was aborted, and lost its markers, becomes visible, and is done again.',
    edits: [{ file: PRODUCER, find: wasCommitted, replace: 'true' }],
  },
  {
    name: 'last-transaction-always-aborted',
    harm: 'Of a transaction that was committed and lost some of its markers, only a part is visible.',
    edits: [{ file: PRODUCER, find: wasCommitted, replace: 'false' }],
  },
  {
    name: 'forgotten-by-the-coordinator',
    harm: 'An initialisation without an answer wipes out how the last transaction ended.',
    edits: [
      {
        file: PRODUCER,
        find: 'this.#recall(await lastTransactionOf(broker, transactionalId))',
        replace: 'await lastTransactionOf(broker, transactionalId)',
      },
    ],
  },
  {
    name: 'end-again-begun-anew',
    harm: 'The initialisation aborts the half done end of a transaction that was committed.',
    edits: [{ file: PRODUCER, find: 'this.#takeover ?? (await this.#takeOver())', replace: 'await this.#takeOver()' }],
  },
  {
    name: 'crash-while-ending-again-unnoticed',
    harm: 'The markers that were to replace the lost ones are lost as well.',
    edits: [{ file: PRODUCER, find: ' && next.connection === before.connection', replace: '' }],
  },
  {
    name: 'owner-while-ending-again-unnoticed',
    harm: 'What another owner did in between was aborted and its markers were lost: our next transaction publishes it.',
    edits: [
      {
        file: PRODUCER,
        find: 'return mine && next.identity.producerEpoch === producerEpoch + 1 && next',
        replace: 'return mine !== undefined && next',
      },
    ],
  },
  {
    name: 'crash-of-the-coordinator-unnoticed',
    harm: 'The next transaction ends the last one only where it writes itself.',
    edits: [
      { file: PRODUCER, find: ', this.#requireConnection)', replace: ')' },
      {
        file: COMMITTER,
        find: 'if (!this.#options.producer.connected) await this.#renew()\n    else if',
        replace: 'if',
      },
    ],
  },
  {
    name: 'membership-kept-after-a-silent-first-offset',
    harm: 'The first offset arrives again, late, and moves the offset back to the beginning.',
    edits: [
      { file: START, find: 'if (isConnectionTrouble(error)) await this.#options.renounce?.(memberId)', replace: '' },
    ],
  },
]
