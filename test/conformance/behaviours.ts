/**
 * What Kafka does, as far as Sluice's exactly-once protocol rests on it, in behaviours that are tried on a real broker and
 * on the fake of test/sim/fake-kafka: the simulation is worth as much as the two agree.
 *
 * The fake claims, for one cluster and the request versions that Sluice sends: the transaction coordinator (epochs,
 * fencing, time-outs, markers that are written after EndTxn was answered, no new transaction or owner meanwhile);
 * partition leaders (sequence numbers, epochs, control batches, aborted transactions, last stable offset, leader epochs,
 * the check that a partition is in the transaction); the group coordinator (classic protocol, generations, time-outs,
 * offsets within and outside of transactions); metadata with topic ids; connections that serve one request at a time.
 *
 * It does not model: replication (an append is durable and read at once; the tail is lost only by `truncate`), segments
 * (a real fetch ends with one), coordinators that move or load, controllers, quotas, permissions, compaction, retention
 * and expiry by themselves, compression of what it appends, static members, the new consumer protocol, incremental fetch
 * sessions, transactions with an epoch each (EndTxn 5, KIP-890), and how long a real broker takes. The broker faults
 * among these are tried by `npm run faults`.
 *
 * Where the answer of a broker depends on how far it has come, a behaviour accepts what is legal, on both alike.
 */
import type { Behaviour } from './behaviour.ts'
import { groupOffsets } from './group-offsets.ts'
import { initialisation } from './initialisation.ts'
import { membership } from './membership.ts'
import { producing } from './producing.ts'
import { reading } from './reading.ts'
import { transactions } from './transactions.ts'

export const behaviours: Readonly<Record<string, readonly Behaviour[]>> = {
  'initialising a transactional id': initialisation,
  'a transaction': transactions,
  producing,
  reading,
  'offsets of a group': groupOffsets,
  'members of a group': membership,
}
