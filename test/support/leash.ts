// Preloaded into processes that tests start: they die with their parent, however that ends.

process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
process.channel?.unref()
