/** Loaded before a command: says at its end, on standard error, how much memory it had resident at most, in KiB. */
import { isMainThread } from 'node:worker_threads'

if (isMainThread) process.on('exit', () => process.stderr.write(`peak ${process.resourceUsage().maxRSS}\n`))
