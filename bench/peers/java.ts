import { existsSync, globSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findJava } from '../../dev/java.ts'
import { mavenFolder } from '../../dev/maven.ts'
import type { Command, Job } from '../contender.ts'
import { buildOnce, cacheFolder, runTool } from './build.ts'
import { type Peer, peerEnvironment } from './peer.ts'

const SOURCES = fileURLToPath(new URL('java/', import.meta.url))
const POM = join(SOURCES, 'pom.xml')
const RELEASE = '17'

const WITHOUT = 'or run the bench without --peers.'
const MISSING_JAVAC =
  `The Java peer needs the compiler of Java ${RELEASE} or newer, and there is no javac. ` +
  'Install it (Debian: apt install openjdk-17-jdk-headless; macOS: brew install openjdk), point JAVA_HOME at it, ' +
  WITHOUT
const MISSING_MAVEN =
  'The Java peer needs Maven once, for its jars, and "mvn" is not on the PATH. ' +
  `Install it (Debian: apt install maven; macOS: brew install maven), ${WITHOUT}`

/**
 * A heap of fixed size, so that it does not grow while it is measured, and the collector that costs least processor
 * time where pauses of some milliseconds do no harm.
 */
const FLAGS = [
  '-Xms1g',
  '-Xmx1g',
  '-XX:+UseParallelGC',
  '-XX:-UsePerfData',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
]

/** Kafka's own client, ONNX Runtime for Java and Jackson. */
class JavaPeer implements Peer {
  readonly name = 'java'
  #program: { readonly java: string; readonly classpath: string } | undefined

  isBuilt(): boolean {
    return existsSync(classes())
  }

  async prepare(report: (line: string) => void): Promise<void> {
    const java = await findJava()
    if (!this.isBuilt()) await runTool('mvn', ['-version'], MISSING_MAVEN)
    const jars = join(await mavenFolder('peer-java', report, POM), '*')
    await buildOnce(classes(), async draft => {
      report('java peer: compiling (once)…')
      await runTool(javac(), ['--release', RELEASE, '-cp', jars, '-d', draft, ...sources()], MISSING_JAVAC)
    })
    this.#program = { java, classpath: [classes(), jars].join(delimiter) }
  }

  /** @throws Error before `prepare` */
  command(job: Job): Command {
    if (this.#program === undefined) throw new Error('The Java peer has to be prepared before it is started.')
    const { java, classpath } = this.#program
    return { file: java, args: [...FLAGS, '-cp', classpath, 'peer.Main'], env: peerEnvironment(job) }
  }
}

export const javaPeer: Peer = new JavaPeer()

function classes(): string {
  return cacheFolder('peer-java-classes', [POM, ...sources()])
}

function sources(): string[] {
  return globSync('peer/*.java', { cwd: SOURCES })
    .sort()
    .map(file => join(SOURCES, file))
}

function javac(): string {
  return process.env.JAVA_HOME ? join(process.env.JAVA_HOME, 'bin', 'javac') : 'javac'
}
