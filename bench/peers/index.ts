import { javaPeer } from './java.ts'
import { pythonPeer } from './python.ts'

export type { Peer } from './peer.ts'

/** What `npm run bench -- --peers` measures beside the worker. Prepare them first. */
export const PEERS = [javaPeer, pythonPeer] as const
