import { readFileSync } from 'node:fs'
import { Random } from '../dev/demo/random.ts'
import type { FaultKind } from '../src/audit/verdict.ts'
import type { AuditVerdict } from '../src/auditing/audit-contract.ts'
import type { Answers } from './answers.ts'
import type { Fault } from './fault.ts'
import type { FaultResult } from './results.ts'
import type { Servers } from './servers.ts'
import { complaints, type Outcome, Stage } from './stage.ts'

/** Strikes fall anywhere within this, after everything works. */
const MOMENT_MS = 600
/** The longest blow waits for a broker of three to be in sync again, which itself gives up after a minute. */
const STEP_MS = 90_000

/** Version of the broker that `dev/` starts. */
const KAFKA = /<version>(4[^<]*)<\/version>/.exec(read('../dev/kafka/pom.xml'))![1]!
const { version: SLUICE } = JSON.parse(read('../package.json')) as { version: string }

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), 'utf8')
}

/**
 * Strikes once for each of `turns`, each time when everything has recovered from the last, and lets the oracle judge.
 * @param onStrike hears of each recovery, in milliseconds
 * @throws Error when the workers do not recover
 */
export async function runFault(
  fault: Fault,
  servers: Servers,
  { turns, seed, onStrike }: { turns: readonly number[]; seed: number; onStrike: (recoveryMs: number) => void },
): Promise<FaultResult> {
  const begun = performance.now()
  const stage = await Stage.open(fault, servers, new Random(seed))
  try {
    const recoveryMs: number[] = []
    for (const turn of turns) {
      recoveryMs.push(await strikeOnce(fault, stage, turn))
      onStrike(recoveryMs.at(-1)!)
    }
    const outcome = await stage.conclude()
    const complaints = (await fault.judge?.(stage)) ?? []
    return {
      ...about(fault),
      ...judged(outcome, stage.answers, complaints),
      strikes: turns.length,
      seed,
      transactions: stage.tally.total,
      recoveryMs,
      seconds: Math.round((performance.now() - begun) / 1000),
      date: new Date().toISOString().slice(0, 10),
      versions: { sluice: SLUICE, kafka: KAFKA, node: process.versions.node },
    }
  } finally {
    await stage.close()
  }
}

async function strikeOnce(fault: Fault, stage: Stage, turn: number): Promise<number> {
  await stage.moment(MOMENT_MS)
  await stage.tally.look(stage.replicas)
  stage.watch.reset()
  const { since, mend } = await stage.within(STEP_MS, 'strike', fault.strike(stage, turn))
  await stage.answered(since)
  if (mend !== undefined) await stage.within(STEP_MS, 'mend', mend())
  await stage.restore()
  return stage.watch.longestSilence(since)
}

function about({ name, what, limitMs }: Fault): Pick<FaultResult, 'fault' | 'what' | 'limitMs'> {
  return { fault: name, what, limitMs }
}

/** Every reading counts: what one of them finds is wrong. */
function judged({ early, late, vanished }: Outcome, answers: Answers, others: readonly string[]) {
  const all = early === undefined ? late : [early, ...late]
  const most = (kind: FaultKind) =>
    Math.max(
      early?.faults[kind].count ?? 0,
      sum(({ faults }) => faults[kind].count),
    )
  const sum = (of: (verdict: AuditVerdict) => number) => late.reduce((total, verdict) => total + of(verdict), 0)
  const leftOpen = sum(({ openTransactions, unread }) => openTransactions.length + unread.length)
  const unseen = sum(({ gaps, trimmed, strayOffsets }) => gaps.length + trimmed.length + strayOffsets.length)
  const gone = vanished.map(place => `vanished: ${JSON.stringify(place)}`)
  return {
    records: sum(({ inputs }) => inputs),
    predictions: sum(({ predictions }) => predictions),
    deadLetters: sum(({ deadLetters }) => deadLetters),
    lost: most('lost') + sum(({ pending }) => pending),
    doubled: most('doubled'),
    misordered: most('misordered'),
    wrong: answers.wrong,
    otherFaults: most('torn') + most('foreign') + vanished.length + leftOpen + unseen + others.length,
    examples: [...all.flatMap(complaints), ...gone, ...answers.examples, ...others],
  }
}
