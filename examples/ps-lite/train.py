"""One member of a parameter-server job: scheduler, server or worker, as DMLC_ROLE says.

Each worker pushes its rank plus one, three rounds long; with `dist_sync` every worker must then pull the
same sums. A wrong sum ends the program with an error.
"""
import os
import sys

import numpy

ROUNDS = 3
SHAPE = (4, 8)


def work(mxnet, store):
    workers = store.num_workers
    each_round = workers * (workers + 1) // 2
    store.init("weights", mxnet.nd.zeros(SHAPE))
    store.set_optimizer(mxnet.optimizer.create("test", rescale_grad=1.0))
    for done in range(1, ROUNDS + 1):
        store.push("weights", mxnet.nd.ones(SHAPE) * (store.rank + 1))
        pulled = mxnet.nd.zeros(SHAPE)
        store.pull("weights", out=pulled)
        total = float(pulled.asnumpy().sum())
        wanted = float(each_round * done * numpy.prod(SHAPE))
        print(f"worker {store.rank} of {workers}: round {done}: sum {total:g}, wanted {wanted:g}", flush=True)
        if total != wanted:
            sys.exit("the sums differ")
    print(f"worker {store.rank}: all sums are right", flush=True)


def main():
    role = os.environ["DMLC_ROLE"]
    print(f"{role} of job at {os.environ['DMLC_PS_ROOT_URI']}:{os.environ['DMLC_PS_ROOT_PORT']}", flush=True)
    # For a scheduler or a server the import itself serves until the workers are done, then ends the process.
    import mxnet

    if role == "worker":
        work(mxnet, mxnet.kvstore.create("dist_sync"))


if __name__ == "__main__":
    main()
