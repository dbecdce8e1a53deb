"""A Kafka broker for strangers: TLS, logins by SCRAM, PLAIN and OAUTHBEARER, and rights that must be granted (StandardAuthorizer)."""

from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not say that it exports them
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.services.certificates import Authority
from tests.services.identity import AUDIENCE, IdentityProvider
from tests.services.kafka import KafkaServer
from tests.services.process import free_port

USER, PASSWORD = "forecaster", "pa/ss:w@rd%25+x"
PLAIN_USER, PLAIN_PASSWORD = "plain", "plain-pa:ss@w/rd"

# Brokers among themselves, and the tests as operator, use a listener without login, whose user may do everything.
SECURED = """
inter.broker.listener.name=INTERNAL
listener.security.protocol.map=SASL_SSL:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN,OAUTHBEARER
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.sasl_ssl.oauthbearer.sasl.server.callback.handler.class={oauth}.OAuthBearerValidatorCallbackHandler
listener.name.sasl_ssl.oauthbearer.sasl.oauthbearer.jwks.endpoint.url={identity}/jwks
listener.name.sasl_ssl.oauthbearer.sasl.oauthbearer.expected.audience={audience}
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
ssl.client.auth=none
"""


class SecureKafkaServer(KafkaServer):
    """One broker; `address` takes logins over TLS, `operator_address` none."""

    name = "secure-kafka"

    def __init__(self) -> None:
        super().__init__()
        self.operator_port = free_port()
        self.authority = Authority(self.directory / "certificates")
        self.identity = IdentityProvider()

    @property
    def operator_address(self) -> str:
        """HOST:PORT of the listener of the operator, who may do everything."""
        return f"127.0.0.1:{self.operator_port}"

    def properties(self) -> str:
        """The broker's properties, with the listeners of a secured one."""
        signed = self.authority.sign("broker")
        secured = SECURED.format(
            user=PLAIN_USER,
            password=PLAIN_PASSWORD,
            keystore=signed.both,
            truststore=self.authority.certificate,
            oauth="org.apache.kafka.common.security.oauthbearer",
            identity=self.identity.url,
            audience=AUDIENCE,
        )
        listeners = f"SASL_SSL://127.0.0.1:{self.port},INTERNAL://{self.operator_address}"
        return super().properties().replace(f"PLAINTEXT://127.0.0.1:{self.port}", listeners) + secured

    def command(self) -> list[str]:
        """The broker, which asks only for the keys of this identity provider."""
        java, *others = super().command()
        return [java, f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.identity.url}/jwks", *others]

    def close(self) -> None:
        """Stop it and its identity provider."""
        super().close()
        self.identity.close()

    def format_options(self) -> list[str]:
        """Creates the user that logs in with SCRAM."""
        return ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]

    def admin(self) -> AdminClient:
        """A client of the operator."""
        return AdminClient({"bootstrap.servers": self.operator_address, "log_level": 0})

    def client(self, **changes: str) -> dict[str, str]:
        """Variables, RIDECAST_KAFKA_..., of a client that may log in; changes by the last part of their name, "" to leave one out."""
        given = {
            "SECURITY_PROTOCOL": "sasl_ssl",
            "SASL_MECHANISM": "SCRAM-SHA-512",
            "SASL_USERNAME": USER,
            "SASL_PASSWORD": PASSWORD,
            "SSL_CA_LOCATION": str(self.authority.certificate),
        } | changes
        return {f"RIDECAST_KAFKA_{name}": value for name, value in given.items() if value}

    def allow(self, operation: AclOperation, kind: ResourceType, name: str, user: str = USER) -> None:
        """Grant a right, and wait until the broker has it."""
        admin, right = self.admin(), binding(operation, kind, name, user)  # the client must live until the answer
        admin.create_acls([right])[right].result(30)

    def deny_all(self) -> None:
        """Take all rights away."""
        anything: Any = None  # the client's stubs leave out that a filter may have None
        kinds = (ResourceType.ANY, anything, ResourcePatternType.ANY, anything, anything, AclOperation.ANY, AclPermissionType.ANY)
        everything = AclBindingFilter(*kinds)
        admin = self.admin()
        admin.delete_acls([everything])[everything].result(30)


def binding(operation: AclOperation, kind: ResourceType, name: str, user: str) -> AclBinding:
    """A right of a user."""
    return AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW)


__all__ = ["PASSWORD", "PLAIN_PASSWORD", "PLAIN_USER", "USER", "AclOperation", "ResourceType", "SecureKafkaServer"]
