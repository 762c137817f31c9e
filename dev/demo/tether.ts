// Loaded into a replica before anything else (node --import): ends it, by SIGKILL, when the channel to the demo closes. A
// replica therefore cannot outlive the demo, however that ends.

process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
// Waiting for that is no reason to stay. (Worker threads load this too; they have no channel.)
process.channel?.unref()
