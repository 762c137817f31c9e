import type { BatchTrigger, RunCost } from '../core/telemetry.ts'

/** The micro-batch that is being filled, as the policy sees it. */
export interface OpenBatch {
  readonly rows: number
  readonly capacity: number
  /** When its first row was packed, in the clock's milliseconds. */
  readonly openedAt: number
  /** When the oldest of its records reached the worker, or earlier. */
  readonly arrivedAt: number
}

/** Close the batch for this reason, or look again after `waitMs`, or when something changes. */
export type Decision = { readonly close: BatchTrigger } | { readonly waitMs: number } | 'gather'

/** What was measured of late. */
export interface Load {
  /** Of one run; undefined before the first. */
  readonly cost: RunCost | undefined
  /** Rows of the largest run so far. */
  readonly largest: number
  /** Whether batches have differed in size, so that `rowMs` and `fixedMs` are told apart. */
  readonly slopeKnown: boolean
  readonly sessions: number
  /** Records that wait undecoded, in the worker or in the log. */
  readonly backlog: number
  /** Rows that arrive; 0 where nobody knows. */
  readonly rowsPerMs: number
  /** If no row has come by then, none is expected; in the clock's milliseconds. */
  readonly nextRowsBy: number
  /** Time to decode one row, on the main thread. */
  readonly inputRowMs: number
  /** The p99 of the time from the arrival of a batch's oldest record to the end of its run. */
  readonly servedMs: number
  /** The p99 of the time from a result being computed to its transaction being committed. */
  readonly deliveryMs: number
}

/** How to batch under a load, so that the target is held. */
export interface BatchPlan {
  /** Most rows of a batch; from 1 to the capacity. */
  readonly limit: number
  /** The target is given up until the lag is gone. */
  readonly behind: boolean
  /** Rows from which on waiting for more no longer pays. */
  readonly enough: number
  /** From a record's arrival until its run must be over. Negative: the target cannot be held at all. */
  readonly budgetMs: number
  readonly cost: RunCost
  readonly nextRowsBy: number
}

/** The first batch, before anything is known of the model. */
const FIRST_ROWS = 8
/** A batch is at most so many times larger than any before it: the line may not go on straight. */
const GROWTH = 4
/** Of what arrives, sessions should be busy for this share of their time; the rest is for chance. */
const BUSY_SHARE = 0.8
/** Rows are let gather while what was measured takes less than this share of the budget. */
const EASY_SHARE = 0.8
/** Share of the cost of a row that its part of `fixedMs` makes: below it, waiting for larger batches no longer pays. */
const WORTHWHILE = 0.1
/** And below this one, larger batches add nothing to the throughput. */
const NEGLIGIBLE = 0.01
/** What a timer of Node is good for. */
const SHORTEST_WAIT_MS = 1

/**
 * When a micro-batch closes: a pure function of the batch, the sessions that nobody waits for, and now.
 *
 * A full batch closes at once. A free session takes whatever waits, unless `maxQueueDelayMs` asks it to let more rows
 * gather first. While all sessions are busy, rows gather: load makes batches larger by itself.
 *
 * With a `plan` (TARGET_LATENCY_MS), a batch is also closed at its size limit, and a free session lets rows gather as long
 * as that pays, more of them are expected, and the run would still be over in time; `maxQueueDelayMs`, if it is set, bounds
 * that wait, too.
 */
export function decide(
  batch: OpenBatch,
  freeSessions: number,
  now: number,
  maxQueueDelayMs: number,
  plan?: BatchPlan,
): Decision {
  if (batch.rows === 0) return 'gather'
  if (plan !== undefined && batch.rows >= plan.limit) return { close: limitTrigger(plan, batch.capacity) }
  if (batch.rows >= batch.capacity) return { close: 'full' }
  if (freeSessions === 0) return 'gather'
  if (plan !== undefined && !plan.behind) return letGather(batch, now, maxQueueDelayMs, plan)
  if (maxQueueDelayMs === 0) return { close: 'session-free' }
  const left = batch.openedAt + maxQueueDelayMs - now
  return left <= 0 ? { close: 'delay' } : { waitMs: left }
}

function limitTrigger({ behind, limit }: BatchPlan, capacity: number): BatchTrigger {
  if (behind) return 'behind'
  return limit < capacity ? 'target-size' : 'full'
}

function letGather(batch: OpenBatch, now: number, maxQueueDelayMs: number, plan: BatchPlan): Decision {
  const { enough, budgetMs, cost, nextRowsBy } = plan
  if (batch.rows >= enough) return { close: 'session-free' }
  const latest = batch.arrivedAt + budgetMs - runMs(cost, batch.rows)
  const delayed = maxQueueDelayMs === 0 ? Number.POSITIVE_INFINITY : batch.openedAt + maxQueueDelayMs
  const soon = now + SHORTEST_WAIT_MS
  if (latest < soon) return { close: 'target-time' }
  if (delayed < soon) return { close: 'delay' }
  if (nextRowsBy < soon) return { close: 'session-free' }
  return { waitMs: Math.min(latest, delayed, nextRowsBy) - now }
}

/**
 * The plan for a load that holds `targetMs`, from a record's arrival at the worker to the commit that carries its prediction.
 *
 * - **Budget**: the target less the p99 of what comes after the run. The p99 of a sum is at most about the sum of p99s, so
 *   adding them errs on the safe side.
 * - **Limit**: a record that has just missed a batch waits for that run and then for its own, so two runs (of q(n) = rowMs·n +
 *   fixedMs + tailMs each) must fit into the budget: n = (budget/2 − fixedMs − tailMs) / rowMs. But never so few rows that the
 *   sessions could not keep up.
 * - **Enough**: arrivals of λ rows a millisecond in batches of n keep S sessions busy for λ·(rowMs + fixedMs/n)/S of
 *   their time. If that is at most 0.8, sessions keep up and nobody needs to wait: n = λ·fixedMs / (0.8·S − λ·rowMs). Nor does
 *   it pay where a row hardly becomes cheaper: fixedMs/n ≤ 0.1·rowMs. And the first of n rows must have time to wait for
 *   the others and for two runs: n/λ + 2·q(n) ≤ budget. That batching delays pay only for models with high fixed cost, and
 *   then much, is what Crankshaw et al. measured ("Clipper", NSDI 2017, section 4.3.2). What was measured overrules all this:
 *   nothing waits while records take more than 0.8 of the budget, whatever the reason.
 * - **Behind**: what waits cannot be run within the budget, so its latency is lost already. Then the lag comes first: batches
 *   as large as they may be, as far as size adds to the throughput, and the sessions take what there is.
 *
 * Where not even a batch of one fits into the budget, the target cannot be held, and batches are as when behind.
 */
export function planBatches(load: Load, targetMs: number, capacity: number): BatchPlan {
  const { cost, deliveryMs, nextRowsBy } = load
  const budgetMs = targetMs - deliveryMs
  const most = Math.min(capacity, Math.max(FIRST_ROWS, GROWTH * load.largest))
  if (cost === undefined) return { limit: most, behind: false, enough: 1, budgetMs, cost: FREE, nextRowsBy }
  const fitting = fittingRows(cost, budgetMs / 2)
  const fast = load.slopeKnown ? Math.min(most, Math.max(1, fitting, rowsUntil(NEGLIGIBLE, cost))) : most
  if (fitting < 1) return { limit: fast, behind: false, enough: 1, budgetMs, cost, nextRowsBy }
  const limit = Math.min(fast, Math.max(fitting, keepingUp(load, cost)))
  const behind = load.backlog * rowMsAt(limit, load, cost) > Math.max(0, budgetMs - runMs(cost, limit))
  if (behind) return { limit: fast, behind, enough: 1, budgetMs, cost, nextRowsBy }
  return { limit, behind, enough: enoughRows(load, cost, budgetMs), budgetMs, cost, nextRowsBy }
}

const FREE: RunCost = { rowMs: 0, fixedMs: 0, tailMs: 0 }

/** What all but one run of a hundred take at most. */
function runMs({ rowMs, fixedMs, tailMs }: RunCost, rows: number): number {
  return rowMs * rows + fixedMs + tailMs
}

/** The largest batch whose run takes at most `ms`; below 1 if there is none. */
function fittingRows(cost: RunCost, ms: number): number {
  const left = ms - cost.fixedMs - cost.tailMs
  if (left < 0) return 0
  return cost.rowMs === 0 ? Number.POSITIVE_INFINITY : Math.floor(left / cost.rowMs)
}

/** From how many rows on `fixedMs` is at most this share of the cost that rows have anyway. */
function rowsUntil(part: number, { rowMs, fixedMs }: RunCost): number {
  return fixedMs === 0 ? 1 : Math.ceil(fixedMs / (part * rowMs))
}

/** How fast rows leave, in batches of `rows`: as fast as the sessions run them, or the main thread decodes them. */
function rowMsAt(rows: number, { sessions, inputRowMs }: Load, { rowMs, fixedMs }: RunCost): number {
  return Math.max((rowMs + fixedMs / rows) / sessions, inputRowMs)
}

/** The smallest batch with which what arrives leaves the sessions some time to spare. */
function keepingUp({ rowsPerMs, sessions }: Load, cost: RunCost): number {
  const spare = BUSY_SHARE * sessions - rowsPerMs * cost.rowMs
  return spare > 0 ? Math.ceil((rowsPerMs * cost.fixedMs) / spare) : Number.POSITIVE_INFINITY
}

function enoughRows(load: Load, cost: RunCost, budgetMs: number): number {
  const { rowMs, fixedMs, tailMs } = cost
  if (load.servedMs > EASY_SHARE * budgetMs) return 1
  const inTime = (budgetMs - 2 * (fixedMs + tailMs)) / (1 / load.rowsPerMs + 2 * rowMs)
  return Math.min(keepingUp(load, cost), rowsUntil(WORTHWHILE, cost), inTime)
}
