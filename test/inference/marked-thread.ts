/** A session thread that obeys the marks of test/faults/marked-rows.ts. */
import '../faults/marked-rows.ts'

await import('../../src/inference/session-thread.ts')
