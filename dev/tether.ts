// Loaded into a child process before anything else (node --import): ends it, by SIGKILL, when the channel to its parent
// closes. A worker of the demo or of a test therefore cannot outlive it, however that ends.

process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
// Waiting for that is no reason to stay. (Worker threads load this too; they have no channel.)
process.channel?.unref()
