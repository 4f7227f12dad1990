"""Starts a signing, reads its status and sends decisions, with nothing but Temporal's own client and plain JSON."""

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy


async def connect(address: str, namespace: str, token: str) -> Client:
    """The token says who calls. Temporal stamps that on what the call causes; what a client calls itself counts for nothing."""
    return await Client.connect(address, namespace=namespace, rpc_metadata={"authorization": f"Bearer {token}"})


async def start_signing(client: Client, request: dict) -> None:
    """The same request id is the same signing: a second start raises WorkflowAlreadyStartedError."""
    await client.start_workflow(
        "RequestSigning",
        request,
        id=f"signing/{request['tenant']}/{request['request']}",
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        task_queue="signing",
    )


async def decide(client: Client, signed: dict) -> None:
    await client.get_workflow_handle(signed["decision"]["signing"], run_id=signed["decision"]["run"]).signal("decide", signed)


async def withdraw(client: Client, saga: dict, id: str, reason: str) -> None:
    """saga is the status's: the server takes no signal from requesters and approvers that doesn't name the run."""
    await client.get_workflow_handle(saga["workflow"], run_id=saga["run"]).signal("withdraw", {"id": id, "reason": reason})


async def status(client: Client, request: dict) -> dict:
    """For the platform's own processes: requesters and approvers may not query."""
    return await client.get_workflow_handle(f"saga/{request['tenant']}/{request['request']}").query("status", result_type=dict)


async def ending(client: Client, request: dict) -> dict:
    """Waits until the evidence is locked. For the platform's own processes too."""
    return await client.get_workflow_handle(f"signing/{request['tenant']}/{request['request']}", result_type=dict).result()
