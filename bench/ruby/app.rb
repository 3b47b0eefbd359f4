# frozen_string_literal: true

# The tutorial's application in Ruby on Sinatra and Puma, with two necessities added: a state that
# is checked, and a connection to the database that stays open.
require 'json'
require 'net/http'
require 'securerandom'
require 'sinatra/base'
require 'sqlite3'

UPSTREAM = ENV.fetch('BENCH_UPSTREAM')
REDIRECT_URI = ENV.fetch('BENCH_REDIRECT_URI')
DB = SQLite3::Database.new(ENV.fetch('BENCH_DATABASE'))
DB.execute('PRAGMA journal_mode=WAL')
DB.execute('PRAGMA synchronous=FULL')
DB.execute('CREATE TABLE IF NOT EXISTS users ' \
           '(id INTEGER PRIMARY KEY, procore_id INTEGER UNIQUE, email VARCHAR(255))')
LOCK = Mutex.new

class App < Sinatra::Base
  configure do
    set :environment, :production
    set :logging, false
    set :sessions, secret: 'a secret of the benchmark that is long enough for a cookie store, 64+'
  end

  get '/login' do
    session['state'] = SecureRandom.hex(32)
    redirect "#{UPSTREAM}/oauth/authorize?" + URI.encode_www_form(
      client_id: 'bench-client-id', response_type: 'code', redirect_uri: REDIRECT_URI,
      state: session['state']
    )
  end

  get '/callback' do
    halt 400 unless params['state'] == session.delete('state')
    answer = Net::HTTP.post_form(
      URI.parse("#{UPSTREAM}/oauth/token"),
      'grant_type' => 'authorization_code', 'client_id' => 'bench-client-id',
      'client_secret' => 'bench-client-secret', 'code' => params['code'],
      'redirect_uri' => REDIRECT_URI
    )
    uri = URI.parse("#{UPSTREAM}/rest/v1.0/me")
    request = Net::HTTP::Get.new(uri)
    request['authorization'] = "Bearer #{JSON.parse(answer.body)['access_token']}"
    me = JSON.parse(Net::HTTP.start(uri.hostname, uri.port) { |http| http.request(request) }.body)
    session['user_id'] = LOCK.synchronize { user_id(me) }
    redirect '/home'
  end

  get '/home' do
    row = LOCK.synchronize do
      DB.execute('SELECT id, procore_id, email FROM users WHERE id = ?', [session['user_id']]).first
    end
    row.nil? ? redirect('/login') : row.to_s
  end

  def user_id(me)
    found = DB.execute('SELECT id FROM users WHERE procore_id = ?', [me['id']]).first
    return found[0] if found

    DB.execute('INSERT INTO users (procore_id, email) VALUES (?, ?)', [me['id'], me['login']])
    DB.last_insert_row_id
  end
end
