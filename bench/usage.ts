import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

const TICKS_PER_SECOND = 100
const ESTABLISHED = '01'

/** Processor seconds, user and system, that a process has used; undefined where the system has no /proc or the process is gone. */
export function cpuSeconds(pid: number | undefined): number | undefined {
  const text = proc(pid, 'stat')
  if (text === undefined) return undefined
  // The second field is the name in brackets, which may hold spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** The most memory that a process has had resident, in MiB. */
export function peakRssMiB(pid: number | undefined): number | undefined {
  const found = /VmHWM:\s+(\d+) kB/.exec(proc(pid, 'status') ?? '')
  return found === null ? undefined : Number(found[1]) / 1024
}

/** TCP connections that a process has established. */
export function tcpConnections(pid: number): number | undefined {
  const table = proc(pid, 'net/tcp')
  const table6 = proc(pid, 'net/tcp6') ?? ''
  if (table === undefined) return undefined
  const established = new Set<string>()
  for (const line of `${table}\n${table6}`.split('\n')) {
    const fields = line.trim().split(/\s+/)
    if (fields[3] === ESTABLISHED) established.add(`socket:[${fields[9]}]`)
  }
  return openFiles(pid).filter(file => established.has(file)).length
}

function openFiles(pid: number): string[] {
  const folder = `/proc/${pid}/fd`
  return readdirSync(folder).map(name => {
    try {
      return readlinkSync(`${folder}/${name}`)
    } catch {
      return '' // closed meanwhile
    }
  })
}

function proc(pid: number | undefined, file: string): string | undefined {
  try {
    return pid === undefined ? undefined : readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return undefined
  }
}
