import com.nimbusds.oauth2.sdk.as.AuthorizationServerMetadata;
import com.nimbusds.openid.connect.sdk.op.OIDCProviderMetadata;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import org.springframework.security.oauth2.client.registration.ClientRegistration;
import org.springframework.security.oauth2.client.registration.ClientRegistrations;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.jwt.JwtDecoders;

/** Says where the readers of metadata in Spring Security and Nimbus find the token endpoint of an issuer. */
public class Metadata {
    public static void main(String[] arguments) throws Exception {
        String issuer = arguments[0];
        String openid = read(issuer + "/.well-known/openid-configuration");
        String oauth = read(issuer + "/.well-known/oauth-authorization-server");
        System.out.println("Nimbus, OpenID: " + OIDCProviderMetadata.parse(openid).getTokenEndpointURI());
        System.out.println("Nimbus, OAuth: " + AuthorizationServerMetadata.parse(oauth).getTokenEndpointURI());
        System.out.println("Spring, client: " + tokenUri(ClientRegistrations.fromIssuerLocation(issuer)));
        System.out.println("Spring, OpenID client: " + tokenUri(ClientRegistrations.fromOidcIssuerLocation(issuer)));
        JwtDecoders.fromIssuerLocation(issuer);
        JwtDecoders.fromOidcIssuerLocation(issuer);
        System.out.println("Spring, decoders: made");
    }

    static String read(String url) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(url)).build();
        return HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).body();
    }

    static String tokenUri(ClientRegistration.Builder builder) {
        var grant = AuthorizationGrantType.CLIENT_CREDENTIALS;
        return builder.clientId("x").authorizationGrantType(grant).build().getProviderDetails().getTokenUri();
    }
}
