// The JSON of the sign-in, as docs/reference/json.md of procore-signin describes it.

export interface SessionJson {
  user: UserJson | null;
  expires_at: string | null;
  environment: string;
  sign_in_url: string;
}

export interface UserJson {
  id: number;
  procore_id: number;
  email: string;
  name: string | null;
  company_id: number | null;
}

export interface SessionsJson {
  sessions: OpenSessionJson[];
}

export interface OpenSessionJson {
  id: number;
  current: boolean;
  browser: string;
  created_at: string;
  last_seen_at: string;
  expires_at: string;
}

export interface CompaniesJson {
  companies: CompanyJson[];
  company_id: number | null;
}

export interface CompanyJson {
  id: number;
  name: string;
}

export interface GoToJson {
  go_to: string;
}

export interface DisconnectedJson {
  go_to: string;
  revoked: boolean;
}

export interface ProblemJson {
  title: string;
  status: number;
  detail: string;
  code: string;
  reference: string;
  error: string | null;
  sign_in_url: string | null;
}

export interface StartRequest {
  return_to?: string | null;
  connect?: boolean;
  value?: string | null;
}

export interface SignOutRequest {
  return_to?: string | null;
}

export interface EndSessionRequest {
  session_id?: number | null;
  others?: boolean;
}

export interface CompanyRequest {
  company_id: number;
}
