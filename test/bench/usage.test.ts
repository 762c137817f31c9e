import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { test } from 'node:test'
import { cpuSeconds, peakRssMiB, tcpConnections } from '../../bench/usage.ts'

const skip = existsSync('/proc/self/stat') ? false : 'there is no /proc here'

test('processor time is what the process has used, as it says itself', { skip }, () => {
  const before = cpuSeconds(process.pid)!
  const { user, system } = process.cpuUsage()
  // Both count from the start of the process; /proc counts in hundredths.
  assert.ok(Math.abs(before - (user + system) / 1e6) < 0.1, `${before} s, but ${(user + system) / 1e6} s`)
})

test('the peak of memory is at least what is resident now', { skip }, () => {
  assert.ok(peakRssMiB(process.pid)! >= process.memoryUsage.rss() / 2 ** 20 - 1)
})

test('connections are counted that are established, at both ends, and no listening socket', { skip }, async t => {
  const before = tcpConnections(process.pid)!
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  assert.equal(tcpConnections(process.pid), before)
  const accepted = once(server, 'connection')
  const client = connect(port, '127.0.0.1')
  t.after(() => client.destroy())
  const [[peer]] = await Promise.all([accepted, once(client, 'connect')])
  t.after(() => peer.destroy())
  assert.equal(tcpConnections(process.pid), before + 2)
})

test('of a process that is gone, or that is not ours to see, nothing is known', () => {
  for (const pid of [undefined, 2 ** 30]) {
    assert.equal(cpuSeconds(pid), undefined)
    assert.equal(peakRssMiB(pid), undefined)
  }
})
