// Builds both peers: what `npm run bench -- --peers` does before it measures, and what their tests need.
//
//   node bench/peers/prepare.ts

import { PEERS } from './index.ts'

for (const peer of PEERS) {
  await peer.prepare(line => console.error(line))
  console.error(`${peer.name} peer: built`)
}
