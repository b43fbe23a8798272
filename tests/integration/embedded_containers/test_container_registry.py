"""The embedded ECR: Docker pushes to it with its login, and tasks run what was pushed, by digest."""

from pathlib import Path

import aiohttp
import pytest
from botocore.exceptions import ClientError

from tests.containers.engine import DockerError
from tests.integration.embedded_containers.cluster import Aws, Service, define
from tests.integration.embedded_containers.registry import logged_in, password, tagged


async def test_a_pushed_image_runs_by_its_digest(service: Service, tmp_path: Path) -> None:
    aws = service.aws
    repository = f"lyceum/{service.name}"
    async with aws.client("ecr") as ecr:
        made = await ecr.create_repository(repositoryName=repository)
        uri = made["repository"]["repositoryUri"]
        assert uri == f"{aws.registry}/{repository}"
        with logged_in(aws, await password(ecr), tmp_path), tagged(aws, f"{uri}:1.0.0"):
            aws.engine.run("push", f"{uri}:1.0.0")
        described = await ecr.describe_images(
            repositoryName=repository, imageIds=[{"imageTag": "1.0.0"}]
        )
        (image,) = described["imageDetails"]
        assert image["imageTags"] == ["1.0.0"]
        got = await ecr.batch_get_image(
            repositoryName=repository, imageIds=[{"imageDigest": image["imageDigest"]}]
        )
        assert got["images"][0]["imageId"]["imageDigest"] == image["imageDigest"]
        # Another tag of the same content, as a release gives it.
        await ecr.put_image(
            repositoryName=repository,
            imageManifest=got["images"][0]["imageManifest"],
            imageManifestMediaType=got["images"][0]["imageManifestMediaType"],
            imageTag="again",
        )
        with pytest.raises(ecr.exceptions.ImageNotFoundException):
            await ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": "2.0.0"}])
    by_digest = f"{uri}@{image['imageDigest']}"
    await service.create(await define(service.ecs, service.name, by_digest, {}), count=1)
    (task,) = await service.tasks()
    assert task["containers"][0]["imageDigest"] == image["imageDigest"]
    # A tag is looked up once a deployment.
    await service.deploy(await define(service.ecs, service.name, f"{uri}:again", {}))
    (task,) = await service.tasks()
    assert task["containers"][0]["imageDigest"] == image["imageDigest"]


async def test_the_registry_is_closed_without_its_login(aws: Aws, tmp_path: Path) -> None:
    async with aws.client("ecr") as ecr:
        made = await ecr.create_repository(repositoryName="lyceum/closed")
    uri = made["repository"]["repositoryUri"]
    with (
        tagged(aws, f"{uri}:1"),
        logged_in(aws, "not-a-password", tmp_path),
        pytest.raises(DockerError),
    ):
        aws.engine.run("push", f"{uri}:1")
    async with aiohttp.ClientSession() as http:
        for path in ("/v2/", "/v2/lyceum/closed/tags/list"):
            async with http.get(aws.endpoint + path) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        # Nothing else of MiniStack's is behind that prefix.
        async with http.get(f"{aws.endpoint}/v2/email/identities") as answer:
            assert answer.status == 403


async def test_a_login_without_a_signature_is_refused(aws: Aws) -> None:
    async with aiohttp.ClientSession() as http:
        headers = {"X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"}
        async with http.post(f"{aws.endpoint}/", headers=headers, data=b"{}") as answer:
            assert answer.status == 403


async def test_what_is_not_there_is_said_in_the_words_of_ecr(aws: Aws) -> None:
    async with aws.client("ecr") as ecr:
        with pytest.raises(ClientError, match="RepositoryNotFoundException"):
            await ecr.describe_images(repositoryName="lyceum/nothing")
